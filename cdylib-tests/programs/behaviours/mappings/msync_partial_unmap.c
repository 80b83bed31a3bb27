/* Every part of a mapping unmapped in turn. */
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
	for (int first = 0; first < 4; first++)
		for (int last = first; last < 4; last++) {
			char *p = map(fd, RW, MAP_SHARED, 4, 0);
			munmap(p + first * PAGE, (last - first + 1) * PAGE);
			for (int page = 0; page < 4; page++)
				STEP(msync_(p + page * PAGE, PAGE, MS_SYNC), "without %d..%d, page %d", first, last, page);
			STEP(msync_(p, 4 * PAGE, MS_SYNC), "without %d..%d, all", first, last);
			munmap(p, 4 * PAGE);
		}
	return end();
}
