#include "common.h"

/* 0 or -1: addresses differ from run to run. */
static long mapped(void *p)
{
	return p == MAP_FAILED ? -1 : 0;
}

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
	void *(*mremap_)(void *, size_t, size_t, int, ...) = symbol;
	keep = true;
	int fd = open("file", O_RDWR);
	char *p = map(fd, RW, MAP_SHARED, 4, 0), *room = map(-1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, 16, 0), *q;
	STEP(mapped(q = mremap_(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room)), "move");
	STEP(q == room, "it is where it should be");
	STEP((q[100] = '!', 0), "store");
	STEP(msync(q, 4 * PAGE, MS_SYNC), "msync there");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync where it was");
	STEP(mapped(mremap_(q, 4 * PAGE, 2 * PAGE, 0)), "shrink");
	STEP(msync(q, 2 * PAGE, MS_SYNC), "msync what is left");
	STEP(msync(q, 4 * PAGE, MS_SYNC), "msync what was");
	STEP(mapped(mremap_(q, 2 * PAGE, 4 * PAGE, 0)), "grow in place");
	STEP(msync(q, 4 * PAGE, MS_SYNC), "msync all of it");
	STEP((q[3 * PAGE] = '!', 0), "store to page 3");
	STEP(mapped(mremap_(q, 0, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 8 * PAGE)), "a second mapping, by length 0");
	STEP(room[8 * PAGE + 100], "it shows the first page");
	STEP(msync(room + 8 * PAGE, 2 * PAGE, MS_SYNC), "msync of it");
	STEP(mapped(mremap_(q + 1, PAGE, PAGE, 0)), "unaligned");
	STEP(mapped(mremap_(q, PAGE, 0, 0)), "new length 0");
	STEP(mapped(mremap_(q, PAGE, PAGE, 0x80)), "bad flags");
	STEP(mapped(mremap_(q, PAGE, PAGE, MREMAP_FIXED, room)), "MREMAP_FIXED without MAYMOVE");
	STEP(mapped(mremap_(q, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q + PAGE)), "onto itself, overlapping");
	STEP(mapped(mremap_(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE)), "where nothing is mapped");
	STEP(mapped(mremap_(q, PAGE, SIZE_MAX, MREMAP_MAYMOVE)), "to SIZE_MAX");
	STEP(msync(q, 4 * PAGE, MS_SYNC), "msync after all that");
	p = map(-1, RW, MAP_PRIVATE | MAP_ANONYMOUS, 2, 0);
	STEP(mapped(mremap_(p, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE)), "anonymous, grow");
	return end();
}
