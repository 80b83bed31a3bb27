/* A part of the range is locked in memory: MS_INVALIDATE is EBUSY there on the page cache, 0 on DAX. */
#include "common.h"

#define RW (PROT_READ | PROT_WRITE)

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*msync_)(void *, size_t, int) = symbol;
	keep = true;
	int fd = open("file", O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	STEP(mlock(p + PAGE, PAGE), "mlock");
	p[0] = p[PAGE] = p[3 * PAGE] = '!';
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "a locked page inside");
	STEP(msync_(p + PAGE, PAGE, MS_SYNC), "the page itself");
	STEP(msync_(p, 4 * PAGE, MS_SYNC | MS_INVALIDATE), "MS_INVALIDATE");
	STEP(msync_(p + PAGE, PAGE, MS_SYNC | MS_INVALIDATE), "MS_INVALIDATE, the page itself");
	STEP(msync_(p + 2 * PAGE, PAGE, MS_SYNC | MS_INVALIDATE), "MS_INVALIDATE, a page beside it");
	STEP(msync_(p, 4 * PAGE, MS_ASYNC | MS_INVALIDATE), "MS_ASYNC|MS_INVALIDATE");
	STEP(fsync(fd), "fsync");
	STEP(munlock(p + PAGE, PAGE), "munlock");
	STEP(msync_(p, 4 * PAGE, MS_SYNC | MS_INVALIDATE), "MS_INVALIDATE when unlocked");
	return end();
}
