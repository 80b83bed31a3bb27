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
	int (*mprotect_)(void *, size_t, int) = symbol;
	keep = true;
	int fd = open("file", O_RDWR), ro = open("file", O_RDONLY);
	char *p = map(fd, RW, MAP_SHARED, 4, 0), *r = map(ro, PROT_READ, MAP_SHARED, 1, 0);
	STEP((p[0] = p[PAGE] = p[2 * PAGE] = '!', 0), "store");
	STEP(mprotect_(p + PAGE, PAGE, PROT_NONE), "page 1 to PROT_NONE");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync over it");
	STEP(msync(p + PAGE, PAGE, MS_SYNC), "msync of it");
	STEP(IN_CHILD((p[PAGE] = '?', 0)), "store to it, in a child");
	STEP(mprotect_(p + PAGE, PAGE, PROT_READ), "page 1 to PROT_READ");
	STEP(p[PAGE], "it shows");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync over it");
	STEP(IN_CHILD((p[PAGE] = '?', 0)), "store to it, in a child");
	STEP(mprotect_(p + PAGE, PAGE, RW), "page 1 to writable");
	STEP((p[PAGE] = '?', 0), "store to it");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync over it");
	STEP(mprotect_(r, PAGE, RW), "a mapping of O_RDONLY to writable");
	STEP(mprotect_(p + 1, PAGE, RW), "unaligned");
	STEP(mprotect_(p, 0, PROT_NONE), "length 0");
	STEP(mprotect_(p, SIZE_MAX, PROT_NONE), "length SIZE_MAX");
	STEP(mprotect_(p, PAGE, 0x40), "bad protection");
	STEP(mprotect_(p, PAGE, PROT_GROWSDOWN | PROT_GROWSUP), "both ways of growing");
	STEP(munmap(p + 3 * PAGE, PAGE), "unmap page 3");
	STEP(mprotect_(p, 4 * PAGE, PROT_NONE), "all to PROT_NONE, over the hole");
	STEP(msync(p, 3 * PAGE, MS_SYNC), "msync what is left");
	STEP(mprotect_(p + 3 * PAGE, PAGE, PROT_READ), "the hole");
	return end();
}
