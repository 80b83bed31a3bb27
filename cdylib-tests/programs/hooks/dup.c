#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*dup_)(int) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		int fd = -1;
		STEP(fd = dup_(d->fd), "%s", d->name);
		if (fd < 0)
			continue;
		STEP(fcntl(fd, F_GETFD), "F_GETFD of the dup of %s", d->name);
		STEP(write(fd, "WXYZ", 4), "write to the dup of %s", d->name);
		STEP(ftruncate(fd, 10), "ftruncate the dup of %s", d->name);
		STEP(close(fd), "close the dup of %s", d->name);
		STEP(write(fd, "WXYZ", 4), "write after close to the dup of %s", d->name);
	}
	/* A number that is known, and was closed by nobody that we see. */
	int file = raw(SYS_openat, AT_FDCWD, "file", O_RDWR, 0);
	int plain = raw(SYS_openat, AT_FDCWD, "plain", O_RDWR, 0);
	STEP(write(plain, "WXYZ", 4), "write to plain");
	raw(SYS_close, plain);
	STEP(dup_(file) == plain, "a dup under plain's number");
	STEP(write(plain, "WXYZ", 4), "write to that");
	return end();
}
