#include "times.h"

int main(int argc, char **argv)
{
	begin_times(argc, argv);
	int (*utime_)(const char *, const struct utimbuf *) = symbol;
	struct utimbuf given = {5, 7}, negative = {-5, -7};
	FOR_ROUTES(r) {
		STEP(utime_(r->path, NULL), "NULL %s", r->name);
		STEP(utime_(r->path, &given), "5 and 7 %s", r->name);
	}
	STEP(utime_("file", &negative), "before 1970");
	STEP(IN_CHILD(utime_("file", (void *)8)), "times at a bad pointer");
	STEP(IN_CHILD(utime_("plain", (void *)8)), "plain, times at a bad pointer");
	STEP(IN_CHILD(utime_("file", NULL)), "NULL in a child");
	return end();
}
