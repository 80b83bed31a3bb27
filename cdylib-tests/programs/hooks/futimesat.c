#include "times.h"

int main(int argc, char **argv)
{
	begin_times(argc, argv);
	int (*futimesat_)(int, const char *, const struct timeval *) = symbol;
	struct timeval given[] = {{5, 6}, {7, 8}}, million[] = {{5, 1000000}, {7, 8}};
	FOR_ROUTES(r)
		STEP(futimesat_(AT_FDCWD, r->path, given), "AT_FDCWD %s", r->name);
	FOR_AT_ROUTES(r) {
		STEP(futimesat_(r->fd, r->path, NULL), "NULL %s", r->name);
		STEP(futimesat_(r->fd, r->path, given), "5.000006 and 7.000008 %s", r->name);
	}
	open_descriptors();
	FOR_DESCRIPTORS(d)
		STEP(futimesat_(d->fd, NULL, given), "no path, %s", d->name);
	STEP(futimesat_(DIR_FD, "file", million), "a million microseconds");
	STEP(IN_CHILD(futimesat_(DIR_FD, "file", (void *)8)), "times at a bad pointer");
	STEP(IN_CHILD(futimesat_(DIR_FD, "plain", (void *)8)), "plain, times at a bad pointer");
	return end();
}
