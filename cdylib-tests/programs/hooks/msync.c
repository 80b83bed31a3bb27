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
	int fd = open("file", O_RDWR), ro = open("file", O_RDONLY);
	char *p = map(fd, RW, MAP_SHARED, 8, 0), *r = map(ro, PROT_READ, MAP_SHARED, 4, 0),
		*private = map(fd, RW, MAP_PRIVATE, 4, 0), *a = map(-1, RW, MAP_PRIVATE | MAP_ANONYMOUS, 4, 0);
	STEP((memcpy(p + 10, "stored", 6), p[3 * PAGE + 4095] = '!'), "store");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "all of it");
	STEP(msync_(p, PAGE, MS_SYNC), "one page");
	STEP(msync_(p + PAGE, 1, MS_SYNC), "one byte");
	STEP(msync_(p, 4 * PAGE - 1, MS_SYNC), "all but a byte");
	STEP(msync_(p, 4 * PAGE, MS_ASYNC), "MS_ASYNC");
	STEP(msync_(p, 4 * PAGE, 0), "no flags");
	STEP(msync_(p, 4 * PAGE, MS_INVALIDATE), "MS_INVALIDATE");
	STEP(msync_(p, 4 * PAGE, MS_SYNC | MS_INVALIDATE), "MS_SYNC|MS_INVALIDATE");
	STEP(msync_(p, 4 * PAGE, MS_SYNC | MS_ASYNC), "MS_SYNC|MS_ASYNC");
	STEP(msync_(p, 0, MS_SYNC | MS_ASYNC), "MS_SYNC|MS_ASYNC, length 0");
	STEP(msync_(p, 4 * PAGE, 0x80), "bad flags");
	STEP(msync_(p, 0, 0x80), "bad flags, length 0");
	STEP(msync_(p, 4 * PAGE, -1), "all flags");
	STEP(msync_(p + 1, PAGE, MS_SYNC), "unaligned");
	STEP(msync_(p + 1, 0, MS_SYNC), "unaligned, length 0");
	STEP(msync_(p, 0, MS_SYNC), "length 0");
	STEP(msync_(NULL, 0, MS_SYNC), "NULL, length 0");
	STEP(msync_(NULL, PAGE, MS_SYNC), "NULL");
	STEP(msync_(p, SIZE_MAX, MS_SYNC), "length SIZE_MAX");
	STEP(msync_(p, SIZE_MAX & -PAGE, MS_SYNC), "length SIZE_MAX, whole pages");
	STEP(msync_((void *)0xffff800000000000, PAGE, MS_SYNC), "a kernel address");
	STEP(msync_((void *)-PAGE, PAGE, MS_SYNC), "the last page");
	STEP(msync_(p, 8 * PAGE, MS_SYNC), "beyond the end of the file");
	STEP(msync_(p + 4 * PAGE, 4 * PAGE, MS_SYNC), "wholly beyond the end of the file");
	STEP(msync_(r, 4 * PAGE, MS_SYNC), "a mapping of O_RDONLY");
	STEP(msync_(private, 4 * PAGE, MS_SYNC), "private");
	STEP(msync_(a, 4 * PAGE, MS_SYNC), "anonymous");
	STEP(close(fd), "close the descriptor");
	STEP((p[20] = '!', msync_(p, 4 * PAGE, MS_SYNC)), "after close");
	STEP(IN_CHILD((p[30] = '!', msync_(p, 4 * PAGE, MS_SYNC))), "in a child");
	STEP(munmap(p + PAGE, PAGE), "unmap page 1");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "over the hole");
	STEP(msync_(p, 4 * PAGE, MS_ASYNC), "MS_ASYNC over the hole");
	STEP(msync_(p, 4 * PAGE, 0), "no flags over the hole");
	STEP(msync_(p + PAGE, PAGE, MS_SYNC), "the hole");
	return end();
}
