/* A mapping reaches beyond the last page: the kernel answers 0 there, a cache line write-back would be SIGBUS. */
#include "common.h"

static char *map(int fd, int prot, int flags, long pages, long offset)
{
	char *p = mmap(NULL, pages * PAGE, prot, flags, fd, offset);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

#define RW (PROT_READ | PROT_WRITE)

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*msync_)(void *, size_t, int) = symbol;
	keep = true;
	int fd = open("tail", O_RDWR); /* a page and 100 bytes */
	char *p = map(fd, RW, MAP_SHARED, 8, 0);
	STEP((p[0] = p[PAGE + 99] = '!', 0), "store");
	STEP(msync_(p, 2 * PAGE, MS_SYNC), "up to the last page");
	STEP(msync_(p, 8 * PAGE, MS_SYNC), "beyond the last page");
	STEP(msync_(p + 2 * PAGE, PAGE, MS_SYNC), "first page beyond");
	STEP(msync_(p + 7 * PAGE, PAGE, MS_SYNC), "last page beyond");
	STEP(msync_(p + PAGE, 2 * PAGE, MS_SYNC), "over the end");
	STEP(msync_(p, 8 * PAGE, MS_ASYNC), "MS_ASYNC");
	STEP(fsync(fd), "fsync");
	STEP(IN_CHILD((p[2 * PAGE] = '!', 0)), "a store there is SIGBUS");
	return end();
}
