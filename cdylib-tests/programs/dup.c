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
	return end();
}
