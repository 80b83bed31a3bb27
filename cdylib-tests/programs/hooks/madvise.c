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
	int (*madvise_)(void *, size_t, int) = symbol;
	keep = true;
	int fd = open("file", O_RDWR), ro = open("file", O_RDONLY), plain = open("plain", O_RDWR);
	char *p = map(fd, RW, MAP_SHARED, 4, 0), *r = map(ro, PROT_READ, MAP_SHARED, 4, 0),
		*private = map(fd, RW, MAP_PRIVATE, 4, 0), *a = map(-1, RW, MAP_PRIVATE | MAP_ANONYMOUS, 4, 0),
		*other = map(plain, RW, MAP_SHARED, 1, 0);
	STEP(madvise_(p, 4 * PAGE, MADV_WILLNEED), "WILLNEED");
	STEP(madvise_(p, 4 * PAGE, MADV_RANDOM), "RANDOM");
	STEP(madvise_(p, 4 * PAGE, MADV_SEQUENTIAL), "SEQUENTIAL");
	STEP(madvise_(p, 4 * PAGE, MADV_NORMAL), "NORMAL");
	STEP(madvise_(p, 4 * PAGE, MADV_DONTNEED), "DONTNEED");
	STEP(madvise_(p, 4 * PAGE, MADV_DONTFORK), "DONTFORK");
	STEP(madvise_(p, 4 * PAGE, MADV_DOFORK), "DOFORK");
	STEP(madvise_(p + 1, PAGE, MADV_REMOVE), "REMOVE, unaligned");
	STEP(madvise_(p, 0, MADV_REMOVE), "REMOVE, length 0");
	STEP(madvise_(p, SIZE_MAX, MADV_REMOVE), "REMOVE, length SIZE_MAX");
	STEP(madvise_(p + PAGE, PAGE, MADV_REMOVE), "REMOVE, page 1");
	STEP(madvise_(p, 4 * PAGE, MADV_REMOVE), "REMOVE, all of it");
	STEP(madvise_(r, PAGE, MADV_REMOVE), "REMOVE through a mapping of O_RDONLY");
	STEP(madvise_(private, PAGE, MADV_REMOVE), "REMOVE, private");
	STEP(madvise_(a, PAGE, MADV_REMOVE), "REMOVE, anonymous");
	STEP(madvise_(other, PAGE, MADV_REMOVE), "REMOVE, plain");
	STEP(close(fd), "close the descriptor");
	STEP(madvise_(p, PAGE, MADV_REMOVE), "REMOVE after close");
	STEP(IN_CHILD(madvise_(p + PAGE, PAGE, MADV_REMOVE)), "REMOVE in a child");
	STEP(munmap(p, PAGE), "unmap page 0");
	STEP(madvise_(p, PAGE, MADV_REMOVE), "REMOVE of what is unmapped");
	STEP(madvise_(a, 4 * PAGE, MADV_DONTNEED), "DONTNEED, anonymous");
	STEP(madvise_(a, PAGE, 9999), "no such advice");
	return end();
}
