/* msync of PROT_NONE is 0; a cache line write-back there would be SIGSEGV. */
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
	p[0] = p[PAGE] = '!';
	mprotect(p + PAGE, PAGE, PROT_NONE);
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "a page of PROT_NONE inside");
	STEP(msync_(p + PAGE, PAGE, MS_SYNC), "the page itself");
	STEP(fsync(fd), "fsync");
	mprotect(p, 4 * PAGE, PROT_NONE);
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "all of it PROT_NONE");
	STEP(fsync(fd), "fsync");
	char *q = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_SHARED, fd, 0);
	STEP(msync_(q, 4 * PAGE, MS_SYNC), "mapped as PROT_NONE");
	raw(SYS_mprotect, q, PAGE, RW);
	raw(SYS_mprotect, q, PAGE, PROT_NONE);
	STEP(msync_(q, 4 * PAGE, MS_SYNC), "protected behind the hooks");
	mprotect(p, 4 * PAGE, RW);
	STEP((p[PAGE] = '?', msync_(p, 4 * PAGE, MS_SYNC)), "writable again");
	mprotect(p, 4 * PAGE, PROT_WRITE);
	STEP((p[PAGE] = '!', msync_(p, 4 * PAGE, MS_SYNC)), "PROT_WRITE alone");
	mprotect(p, 4 * PAGE, PROT_EXEC);
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "PROT_EXEC alone");
	return end();
}
