/* MAP_FIXED over a sync mapping ends it: a write-back into what is there now could fault. */
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
	int fd = open("file", O_RDWR), plain = open("plain", O_RDWR);
	char *p = map(fd, RW, MAP_SHARED, 4, 0);
	STEP(mmap(p + PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + PAGE, "reserved memory over page 1");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync over it");
	STEP(mmap(p + 2 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, plain, 0) == p + 2 * PAGE, "plain over page 2");
	STEP((p[2 * PAGE] = '!', msync_(p, 4 * PAGE, MS_SYNC)), "msync over it");
	STEP(ftruncate(plain, 0), "plain to 0");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync where a load would be SIGBUS");
	STEP(mmap(p, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == p, "the file over all of it");
	STEP((p[0] = p[2 * PAGE] = '!', msync_(p, 4 * PAGE, MS_SYNC)), "msync");
	STEP(mmap(p, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, -1, 0) == MAP_FAILED, "MAP_FIXED that fails");
	STEP(msync_(p, PAGE, MS_SYNC), "msync after it");
	return end();
}
