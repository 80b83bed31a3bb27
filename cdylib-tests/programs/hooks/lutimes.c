#include "times.h"

int main(int argc, char **argv)
{
	begin_times(argc, argv);
	int (*lutimes_)(const char *, const struct timeval *) = symbol;
	struct timeval given[] = {{5, 6}, {7, 8}}, million[] = {{5, 1000000}, {7, 8}}, negative[] = {{5, 6}, {7, -1}};
	FOR_ROUTES(r) {
		STEP(lutimes_(r->path, NULL), "NULL %s", r->name);
		STEP(lutimes_(r->path, given), "5.000006 and 7.000008 %s", r->name);
	}
	STEP(lutimes_("file", million), "a million microseconds");
	STEP(lutimes_("file", negative), "-1 microseconds");
	STEP(lutimes_("missing", negative), "missing, -1 microseconds");
	STEP(IN_CHILD(lutimes_("file", (void *)8)), "times at a bad pointer");
	STEP(IN_CHILD(lutimes_("plain", (void *)8)), "plain, times at a bad pointer");
	STEP(IN_CHILD(lutimes_("file", NULL)), "NULL in a child");
	return end();
}
