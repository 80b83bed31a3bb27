#include "times.h"

int main(int argc, char **argv)
{
	begin_times(argc, argv);
	int (*utimes_)(const char *, const struct timeval *) = symbol;
	struct timeval given[] = {{5, 6}, {7, 8}}, million[] = {{5, 1000000}, {7, 8}}, negative[] = {{5, 6}, {7, -1}};
	FOR_ROUTES(r) {
		STEP(utimes_(r->path, NULL), "NULL %s", r->name);
		STEP(utimes_(r->path, given), "5.000006 and 7.000008 %s", r->name);
	}
	STEP(utimes_("file", million), "a million microseconds");
	STEP(utimes_("file", negative), "-1 microseconds");
	STEP(utimes_("missing", negative), "missing, -1 microseconds");
	STEP(IN_CHILD(utimes_("file", (void *)8)), "times at a bad pointer");
	STEP(IN_CHILD(utimes_("plain", (void *)8)), "plain, times at a bad pointer");
	STEP(IN_CHILD(utimes_("file", NULL)), "NULL in a child");
	return end();
}
