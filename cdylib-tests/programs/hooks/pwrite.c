#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*pwrite_)(int, const void *, size_t, off_t) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(pwrite_(d->fd, "WXYZ", 4, 100), "4 bytes at 100 to %s", d->name);
		STEP(pwrite_(d->fd, "", 0, 0), "nothing to %s", d->name);
		STEP(pwrite_(d->fd, "WXYZ", 4, -1), "4 bytes at -1 to %s", d->name);
		STEP(pwrite_(d->fd, (void *)0xffff800000000000, 4, 0), "from a kernel pointer to %s", d->name);
	}
	STEP(pwrite_(FD(RDWR), "WXYZ", 4, FILE_SIZE), "4 bytes at the end");
	STEP(pwrite_(FD(RDWR), "WXYZ", 4, FILE_SIZE - 2), "4 bytes over the end");
	STEP(pwrite_(FD(PLAIN), "WXYZ", 4, 1L << 33), "plain, 4 bytes at 8 GiB");
	STEP(lseek(FD(RDWR), 0, SEEK_CUR), "position");
	STEP(IN_CHILD(pwrite_(FD(RDWR), "WXYZ", 4, 0)), "O_RDWR inherited by a child");
	return end();
}
