#include "times.h"

int main(int argc, char **argv)
{
	begin_times(argc, argv);
	int (*futimens_)(int, const struct timespec *) = symbol;
	struct timespec given[] = {{5, 6}, {7, 8}}, access_only[] = {{5, 6}, {0, UTIME_OMIT}},
			now_only[] = {{0, UTIME_OMIT}, {0, UTIME_NOW}}, neither[] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}},
			billion[] = {{5, 1000000000}, {7, 8}}, negative[] = {{5, 6}, {7, -1}};
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(futimens_(d->fd, NULL), "NULL %s", d->name);
		STEP(futimens_(d->fd, given), "5.6 and 7.8 %s", d->name);
		STEP(futimens_(d->fd, neither), "OMIT and OMIT %s", d->name);
		STEP(futimens_(d->fd, (void *)8), "times at a bad pointer %s", d->name);
	}
	STEP(futimens_(FD(RDWR), access_only), "5.6 and OMIT");
	STEP(futimens_(FD(RDWR), now_only), "OMIT and NOW");
	STEP(futimens_(FD(RDWR), billion), "a billion nanoseconds");
	STEP(futimens_(FD(RDWR), negative), "-1 nanoseconds");
	STEP(IN_CHILD(futimens_(FD(RDWR), NULL)), "NULL in a child");
	return end();
}
