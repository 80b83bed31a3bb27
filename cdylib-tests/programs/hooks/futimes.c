#include "times.h"

int main(int argc, char **argv)
{
	begin_times(argc, argv);
	int (*futimes_)(int, const struct timeval *) = symbol;
	struct timeval given[] = {{5, 6}, {7, 8}}, million[] = {{5, 1000000}, {7, 8}}, negative[] = {{5, 6}, {7, -1}};
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(futimes_(d->fd, NULL), "NULL %s", d->name);
		STEP(futimes_(d->fd, given), "5.000006 and 7.000008 %s", d->name);
		STEP(futimes_(d->fd, million), "a million microseconds %s", d->name);
	}
	STEP(futimes_(FD(RDWR), negative), "-1 microseconds");
	STEP(IN_CHILD(futimes_(FD(RDWR), (void *)8)), "times at a bad pointer");
	STEP(IN_CHILD(futimes_(FD(PLAIN), (void *)8)), "plain, times at a bad pointer");
	STEP(IN_CHILD(futimes_(FD(RDWR), NULL)), "NULL in a child");
	return end();
}
