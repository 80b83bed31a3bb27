#include "common.h"

#ifndef CLOSE_RANGE_UNSHARE /* also in linux/close_range.h */
#define CLOSE_RANGE_UNSHARE 2
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*close_range_)(unsigned, unsigned, int) = symbol;
	open_descriptors();
	STEP(close_range_(FD(RDWR), FD(WRONLY), 0), "O_RDWR and O_WRONLY");
	STEP(write(FD(RDWR), "WXYZ", 4), "write to O_RDWR");
	STEP(write(FD(WRONLY), "WXYZ", 4), "write to O_WRONLY");
	STEP(write(FD(APPEND), "WXYZ", 4), "write to O_APPEND, left out");
	STEP(open("plain", O_RDWR) == FD(RDWR), "plain takes the first number");
	STEP(write(FD(RDWR), "WXYZ", 4), "write to plain there");
	STEP(close_range_(FD(APPEND), FD(APPEND), CLOSE_RANGE_CLOEXEC), "O_APPEND, CLOEXEC");
	STEP(fcntl(FD(APPEND), F_GETFD), "F_GETFD");
	STEP(write(FD(APPEND), "WXYZ", 4), "write to O_APPEND, CLOEXEC");
	STEP(close_range_(FD(RAW), FD(RAW), CLOSE_RANGE_UNSHARE), "one opened behind the hooks, UNSHARE");
	STEP(write(FD(RAW), "WXYZ", 4), "write to one that UNSHARE closed");
	STEP(write(FD(DUP), "WXYZ", 4), "write to the dup");
	STEP(close_range_(9, 8, 0), "first after last");
	STEP(close_range_(3, 4, 0x100), "bad flags");
	STEP(close_range_(80, 90, 0), "where nothing is open");
	STEP(close_range_(INT_MAX, UINT_MAX, 0), "the far end");
	STEP(close_range_(FD(RDWR), FD(PIPE), 0), "all of ours");
	FOR_DESCRIPTORS(d)
		if (d->fd < 50)
			STEP(fcntl(d->fd, F_GETFD), "F_GETFD of %s", d->name);
	return end();
}
