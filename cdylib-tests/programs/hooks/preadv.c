#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*preadv_)(int, const struct iovec *, int, off_t) = symbol;
	char bytes[8];
	struct iovec two[] = {{bytes, 2}, {bytes + 2, 2}};
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(preadv_(d->fd, two, 2, 100), "2 + 2 bytes at 100 from %s", d->name);
		STEP(preadv_(d->fd, two, 2, -1), "2 + 2 bytes at -1 from %s", d->name);
	}
	STEP(preadv_(FD(RDWR), (struct iovec *)8, 2, 0), "vector at a bad pointer");
	return end();
}
