/* A mapping that moves takes its kind along and leaves nothing behind. */
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
	char *p = map(fd, RW, MAP_SHARED, 4, 0), *room = map(-1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, 8, 0);
	STEP(mremap(p + PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + PAGE) == room + PAGE, "the middle moves");
	STEP((room[PAGE] = '!', msync_(room + PAGE, 2 * PAGE, MS_SYNC)), "msync there");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync over where it was");
	STEP(msync_(room, 4 * PAGE, MS_SYNC), "msync around it");
	STEP(mremap(room + PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP) != MAP_FAILED, "MREMAP_DONTUNMAP");
	STEP(msync_(room + PAGE, 2 * PAGE, MS_SYNC), "msync of what stayed");
	STEP(mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE) == p + PAGE, "into its own hole");
	STEP(msync_(p, 2 * PAGE, MS_SYNC), "msync over both");
	STEP(msync_(p + PAGE, PAGE, MS_SYNC), "msync of the new place");
	STEP(mremap(p + 3 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE) == p + PAGE, "over another mapping");
	STEP((p[PAGE] = '?', msync_(p + PAGE, PAGE, MS_SYNC)), "msync of it");
	char *q = map(fd, RW, MAP_SHARED, 2, 0);
	STEP(mprotect(q + PAGE, PAGE, PROT_NONE), "PROT_NONE");
	STEP(mremap(q + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 4 * PAGE) == room + 4 * PAGE, "which moves");
	STEP(msync_(room + 4 * PAGE, PAGE, MS_SYNC), "msync of what nobody may read");
	STEP(mprotect(room + 4 * PAGE, PAGE, RW), "until now");
	STEP((room[4 * PAGE] = '.', msync_(room + 4 * PAGE, PAGE, MS_SYNC)), "msync of it again");
	return end();
}
