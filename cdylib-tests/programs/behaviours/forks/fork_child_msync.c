/* What the parent mapped, the child has; what the child unmaps, the parent keeps. */
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
	for (int i = 0; i < 8; i++)
		STEP(IN_CHILD((p[i * 100] = '!', msync_(p, 4 * PAGE, MS_SYNC))), "child %d", i);
	STEP(IN_CHILD(munmap(p, 4 * PAGE) || msync_(p, PAGE, MS_SYNC)), "a child unmaps");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "the parent's is still there");
	STEP(IN_CHILD(IN_CHILD((p[1] = '!', msync_(p, 4 * PAGE, MS_SYNC)))), "a grandchild");
	madvise(p, 4 * PAGE, MADV_DONTFORK);
	STEP(IN_CHILD(msync_(p, 4 * PAGE, MS_SYNC)), "a child without it (MADV_DONTFORK)");
	pid_t child = vfork();
	if (child == 0)
		_exit(msync_(p, 4 * PAGE, MS_SYNC) ? errno : 0);
	STEP(ended(child), "a child of vfork");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "the parent");
	return end();
}
