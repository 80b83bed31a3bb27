#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*readv_)(int, const struct iovec *, int) = symbol;
	char bytes[8];
	struct iovec two[] = {{bytes, 2}, {bytes + 2, 2}};
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(readv_(d->fd, two, 2), "2 + 2 bytes from %s", d->name);
		STEP(readv_(d->fd, two, -1), "-1 elements from %s", d->name);
	}
	STEP(readv_(FD(RDWR), (struct iovec *)8, 2), "vector at a bad pointer");
	return end();
}
