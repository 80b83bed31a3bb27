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
	int (*munmap_)(void *, size_t) = symbol;
	keep = true;
	int fd = open("file", O_RDWR);
	char *p = map(fd, RW, MAP_SHARED, 4, 0);
	STEP(munmap_(p + 1, PAGE), "unaligned");
	STEP(munmap_(p, 0), "length 0");
	STEP(munmap_(p, SIZE_MAX), "length SIZE_MAX");
	STEP(munmap_((void *)0xffff800000000000, PAGE), "a kernel address");
	STEP(munmap_(p + PAGE, PAGE), "page 1 of 4");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync over the hole");
	STEP(msync(p, PAGE, MS_SYNC), "msync before it");
	STEP(msync(p + PAGE, PAGE, MS_SYNC), "msync of it");
	STEP(msync(p + 2 * PAGE, 2 * PAGE, MS_SYNC), "msync after it");
	STEP(munmap_(p + 2 * PAGE, 1), "one byte of page 2");
	STEP(msync(p + 3 * PAGE, PAGE, MS_SYNC), "msync of page 3");
	STEP((p[0] = p[3 * PAGE] = '!', 0), "store to pages 0 and 3");
	STEP(munmap_(p, 4 * PAGE), "all, holes too");
	STEP(munmap_(p, 4 * PAGE), "all, again");
	STEP(msync(p, PAGE, MS_SYNC), "msync");
	p = map(-1, RW, MAP_PRIVATE | MAP_ANONYMOUS, 2, 0);
	STEP(munmap_(p, 2 * PAGE), "anonymous");
	return end();
}
