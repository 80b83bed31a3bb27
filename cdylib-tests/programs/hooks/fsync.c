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
	int (*fsync_)(int) = symbol;
	keep = true;
	open_descriptors();
	FOR_DESCRIPTORS(d)
		STEP(fsync_(d->fd), "%s", d->name);
	char *p = map(FD(RDWR), RW, MAP_SHARED, 4, 0);
	STEP((memcpy(p + 10, "stored", 6), 0), "store");
	STEP(fsync_(FD(RDWR)), "with all of it mapped");
	int path = open("file", O_PATH);
	STEP(fsync_(path), "through O_PATH");
	close(path);
	STEP(IN_CHILD((p[20] = '!', fsync_(FD(RDWR)))), "in a child");
	STEP(munmap(p, PAGE), "unmap page 0");
	STEP(fsync_(FD(RDWR)), "with a part mapped");
	STEP(fsync_(FD(RDONLY)), "through O_RDONLY");
	STEP(mprotect(p + PAGE, PAGE, PROT_NONE), "page 1 to PROT_NONE");
	STEP(fsync_(FD(RDWR)), "with PROT_NONE inside");
	STEP(munmap(p, 4 * PAGE), "unmap the rest");
	STEP(fsync_(FD(RDWR)), "with nothing mapped");
	STEP(close(FD(RDWR)), "close");
	STEP(fsync_(FD(RDWR)), "after close");
	return end();
}
