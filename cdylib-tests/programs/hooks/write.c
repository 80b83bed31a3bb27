#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*write_)(int, const void *, size_t) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(write_(d->fd, "WXYZ", 4), "4 bytes to %s", d->name);
		STEP(write_(d->fd, "", 0), "nothing to %s", d->name);
		STEP(write_(d->fd, (void *)0xffff800000000000, 4), "from a kernel pointer to %s", d->name);
	}
	STEP(lseek(FD(RDWR), 0, SEEK_CUR), "position");
	STEP(write_(FD(RDWR), "WXYZ", SIZE_MAX), "SIZE_MAX");
	STEP(write_(FD(RDWR), "WXYZ", (size_t)SSIZE_MAX + 1), "SSIZE_MAX + 1");
	STEP(write_(FD(RDWR), NULL, 0), "nothing from NULL");
	STEP(write_(FD(RDONLY), NULL, 4), "O_RDONLY from NULL");
	STEP(write_(FD(PIPE), NULL, 4), "a pipe from NULL");
	STEP(write_(FD(PLAIN), (void *)8, 4), "plain from a bad pointer");
	STEP(IN_CHILD(write_(FD(RDWR), "WXYZ", 4)), "O_RDWR inherited by a child");
	STEP(IN_CHILD(write_(open("file", O_RDWR), "WXYZ", 4)), "O_RDWR opened by a child");
	STEP(IN_CHILD(write_(FD(PLAIN), "WXYZ", 4)), "plain inherited by a child");
	return end();
}
