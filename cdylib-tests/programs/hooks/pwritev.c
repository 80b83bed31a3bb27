#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*pwritev_)(int, const struct iovec *, int, off_t) = symbol;
	struct iovec two[] = {{"WX", 2}, {"YZ", 2}}, none[] = {{"", 0}}, negative[] = {{"WXYZ", SIZE_MAX}};
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(pwritev_(d->fd, two, 2, 100), "2 + 2 bytes at 100 to %s", d->name);
		STEP(pwritev_(d->fd, none, 1, 0), "an empty vector element to %s", d->name);
		STEP(pwritev_(d->fd, two, 2, -1), "2 + 2 bytes at -1 to %s", d->name);
		STEP(pwritev_(d->fd, two, -1, 0), "-1 elements to %s", d->name);
		STEP(pwritev_(d->fd, (struct iovec *)8, 2, 0), "vector at a bad pointer to %s", d->name);
		STEP(pwritev_(d->fd, negative, 1, 0), "negative length to %s", d->name);
	}
	STEP(pwritev_(FD(RDWR), two, 2, FILE_SIZE), "2 + 2 bytes at the end");
	STEP(IN_CHILD(pwritev_(FD(RDWR), two, 2, 0)), "O_RDWR inherited by a child");
	return end();
}
