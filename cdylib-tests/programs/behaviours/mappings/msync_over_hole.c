/* msync over a hole: what is mapped is synced, then ENOMEM. */
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
	int fd = open("file", O_RDWR);
	char *p = map(fd, RW, MAP_SHARED, 4, 0);
	munmap(p + PAGE, PAGE);
	p[0] = p[3 * PAGE] = '!';
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "hole in the middle");
	STEP(msync_(p + PAGE, 3 * PAGE, MS_SYNC), "hole first");
	STEP(msync_(p, 2 * PAGE, MS_SYNC), "hole last");
	STEP(msync_(p, 2 * PAGE, MS_ASYNC), "hole last, MS_ASYNC");
	STEP(msync_(p, 2 * PAGE, MS_SYNC | MS_ASYNC), "hole last, bad flags");
	munmap(p + 2 * PAGE, PAGE);
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "a wider hole");
	STEP(msync_(p, PAGE, MS_SYNC), "before it");
	STEP(msync_(p + 3 * PAGE, PAGE, MS_SYNC), "after it");
	return end();
}
