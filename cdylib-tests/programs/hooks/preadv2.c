#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*preadv2_)(int, const struct iovec *, int, off_t, int) = symbol;
	char bytes[8];
	struct iovec two[] = {{bytes, 2}, {bytes + 2, 2}};
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(preadv2_(d->fd, two, 2, 100, 0), "2 + 2 bytes at 100 from %s", d->name);
		STEP(preadv2_(d->fd, two, 2, -1, 0), "2 + 2 bytes at -1, here, from %s", d->name);
	}
	STEP(preadv2_(FD(RDWR), two, 2, -2, 0), "at -2");
	STEP(preadv2_(FD(RDWR), two, 2, 0, 0x40000000), "unknown flags");
	return end();
}
