#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*dup3_)(int, int, int) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(dup3_(d->fd, 50, 0), "%s to 50", d->name);
		STEP(dup3_(d->fd, d->fd, 0), "%s to itself", d->name);
		STEP(write(50, "WXYZ", 4), "write to 50 after dup3 of %s", d->name);
	}
	STEP(dup3_(FD(RDWR), 51, O_CLOEXEC), "file to 51, O_CLOEXEC");
	STEP(fcntl(51, F_GETFD), "F_GETFD of 51");
	STEP(write(51, "WXYZ", 4), "write to 51, file");
	STEP(dup3_(FD(PLAIN), 51, O_CLOEXEC), "plain over 51");
	STEP(write(51, "WXYZ", 4), "write to 51, plain");
	STEP(dup3_(FD(RDWR), 51, O_APPEND), "bad flags");
	STEP(write(51, "WXYZ", 4), "write to 51, plain still");
	return end();
}
