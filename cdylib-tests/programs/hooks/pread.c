#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*pread_)(int, void *, size_t, off_t) = symbol;
	char bytes[8];
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(pread_(d->fd, bytes, 4, 100), "4 bytes at 100 from %s", d->name);
		STEP(pread_(d->fd, bytes, 4, -1), "4 bytes at -1 from %s", d->name);
	}
	STEP(pread_(FD(RDWR), (void *)8, 4, 0), "to a bad pointer");
	STEP(pread_(FD(RDWR), bytes, 4, FILE_SIZE), "at the end");
	return end();
}
