#include "common.h"

#define RW (PROT_READ | PROT_WRITE)

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*remap)(void *, size_t, int, size_t, int) = symbol;
	keep = true;
	int fd = open("file", O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0),
	     *private = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED || private == MAP_FAILED)
		die("mmap");
	STEP(remap(p + PAGE, PAGE, 0, 3, 0), "page 3 at page 1");
	STEP(p[PAGE + 100], "what shows there");
	STEP((p[PAGE + 100] = '!', 0), "store there");
	STEP(p[3 * PAGE + 100], "it shows in page 3");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync of all");
	STEP(remap(p, PAGE, PROT_READ, 0, 0), "a protection");
	STEP(remap(p + 1, PAGE, 0, 0, 0), "unaligned");
	STEP(remap(private, PAGE, 0, 1, 0), "private");
	STEP(remap((void *)8, PAGE, 0, 1, 0), "bad pointer");
	STEP(remap(p, 0, 0, 1, 0), "length 0");
	STEP(munmap(p, 4 * PAGE), "munmap");
	return end();
}
