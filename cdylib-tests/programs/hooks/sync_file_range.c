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
	int (*sync_)(int, off_t, off_t, unsigned) = symbol;
	const unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
	keep = true;
	open_descriptors();
	FOR_DESCRIPTORS(d)
		STEP(sync_(d->fd, 0, 0, all), "%s", d->name);
	char *p = map(FD(RDWR), RW, MAP_SHARED, 4, 0);
	STEP((memcpy(p + 10, "stored", 6), 0), "store");
	STEP(sync_(FD(RDWR), 0, 0, all), "with all of it mapped");
	STEP(sync_(FD(RDWR), PAGE + 5, 10, all), "a part");
	STEP(sync_(FD(RDWR), 0, 0, 0), "no flags");
	STEP(sync_(FD(RDWR), 0, 0, SYNC_FILE_RANGE_WRITE), "one flag");
	STEP(sync_(FD(RDWR), 0, 0, 8 | all), "an unknown flag");
	STEP(sync_(FD(RDWR), -1, 0, all), "a negative offset");
	STEP(sync_(FD(RDWR), 0, -1, all), "a negative length");
	STEP(sync_(FD(RDWR), LLONG_MAX, 1, all), "beyond all files");
	STEP(sync_(FD(RDWR), 100 * PAGE, PAGE, all), "behind the end");
	STEP(IN_CHILD((p[20] = '!', sync_(FD(RDWR), 0, 0, all))), "in a child");
	STEP(munmap(p, PAGE), "unmap page 0");
	STEP(sync_(FD(RDWR), 0, 0, all), "with a part mapped");
	STEP(sync_(FD(RDONLY), 0, 0, all), "through O_RDONLY");
	STEP(mprotect(p + PAGE, PAGE, PROT_NONE), "page 1 to PROT_NONE");
	STEP(sync_(FD(RDWR), 0, 0, all), "with PROT_NONE inside");
	STEP(munmap(p, 4 * PAGE), "unmap the rest");
	STEP(sync_(FD(RDWR), 0, 0, all), "with nothing mapped");
	STEP(close(FD(RDWR)), "close");
	STEP(sync_(FD(RDWR), 0, 0, all), "after close");
	return end();
}
