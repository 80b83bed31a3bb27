#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*writev_)(int, const struct iovec *, int) = symbol;
	struct iovec two[] = {{"WX", 2}, {"YZ", 2}}, none[] = {{"", 0}}, negative[] = {{"WXYZ", SIZE_MAX}},
				kernel[] = {{(void *)0xffff800000000000, 4}};
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(writev_(d->fd, two, 2), "2 + 2 bytes to %s", d->name);
		STEP(writev_(d->fd, none, 1), "an empty vector element to %s", d->name);
		STEP(writev_(d->fd, two, 0), "no vector to %s", d->name);
		STEP(writev_(d->fd, two, -1), "-1 elements to %s", d->name);
		STEP(writev_(d->fd, two, IOV_MAX + 1), "IOV_MAX + 1 elements to %s", d->name);
		STEP(writev_(d->fd, (struct iovec *)8, 2), "vector at a bad pointer to %s", d->name);
		STEP(writev_(d->fd, negative, 1), "negative length to %s", d->name);
		STEP(writev_(d->fd, kernel, 1), "from a kernel pointer to %s", d->name);
	}
	STEP(IN_CHILD(writev_(FD(RDWR), two, 2)), "O_RDWR inherited by a child");
	return end();
}
