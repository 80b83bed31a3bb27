#include "common.h"

/* 0 or -1: addresses differ from run to run. */
static long mapped(void *p)
{
	return p == MAP_FAILED ? -1 : 0;
}

static char buffer[64];

int main(int argc, char **argv)
{
	begin(argc, argv);
	void *(*mmap_)(void *, size_t, int, int, int, off_t) = symbol;
	keep = true;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(mapped(mmap_(NULL, PAGE, PROT_READ, MAP_SHARED, d->fd, 0)), "shared, read, %s", d->name);
		STEP(mapped(mmap_(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0)), "shared, write, %s", d->name);
		STEP(mapped(mmap_(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, d->fd, 0)), "private, write, %s", d->name);
	}
	char *p, *q;
	STEP(mapped(p = mmap_(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, FD(RDWR), 0)), "shared, all of it");
	STEP((memcpy(p + 10, "stored", 6), 0), "store");
	STEP(pread(FD(RDONLY), buffer, 6, 10) == 6 && !memcmp(buffer, "stored", 6), "read(2) sees it");
	STEP(mapped(q = mmap_(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, FD(RDWR), 0)), "private");
	STEP((memcpy(q + 20, "hidden", 6), p[20] == 'h'), "a private store stays private");
	STEP(mapped(mmap_(q, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, FD(RDWR), 2 * PAGE)), "MAP_FIXED over it, page 2");
	STEP((p[2 * PAGE] = '!', q[0]), "it shows page 2");
	STEP(mapped(mmap_(q, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, FD(RDWR), 0)), "MAP_FIXED_NOREPLACE over it");
	STEP(mapped(mmap_(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE, FD(RDWR), PAGE)), "MAP_SHARED_VALIDATE");
	STEP(mapped(mmap_(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | 0x800000, FD(RDWR), 0)), "MAP_SHARED_VALIDATE with an unknown flag");
	STEP(mapped(mmap_(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | 0x800000, FD(RDWR), 0)), "MAP_SHARED with an unknown flag");
	STEP(mapped(mmap_(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, FD(RDWR), 0)), "MAP_POPULATE");
	STEP(mapped(mmap_(NULL, 2 * FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, FD(RDWR), 0)), "twice the size");
	STEP(mapped(mmap_(NULL, PAGE, PROT_NONE, MAP_SHARED, FD(RDWR), 0)), "PROT_NONE");
	STEP(mapped(mmap_(NULL, 0, PROT_READ, MAP_SHARED, FD(RDWR), 0)), "length 0");
	STEP(mapped(mmap_(NULL, SIZE_MAX, PROT_READ, MAP_SHARED, FD(RDWR), 0)), "length SIZE_MAX");
	STEP(mapped(mmap_(NULL, PAGE, PROT_READ, MAP_SHARED, FD(RDWR), 1)), "unaligned offset");
	STEP(mapped(mmap_(NULL, PAGE, PROT_READ, MAP_SHARED, FD(RDWR), -PAGE)), "negative offset");
	STEP(mapped(mmap_(NULL, PAGE, PROT_READ, 0, FD(RDWR), 0)), "no type");
	STEP(mapped(mmap_((void *)1, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, FD(RDWR), 0)), "MAP_FIXED, unaligned address");
	STEP(mapped(mmap_(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)), "anonymous");
	STEP(mapped(mmap_(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)), "anonymous, shared");
	STEP(mapped(mmap_(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, FD(RDWR), 0)), "anonymous, with a descriptor");
	STEP(close(FD(RDWR)), "close the descriptor");
	STEP((memcpy(p + 30, "later", 5), 0), "store after close");
	STEP(IN_CHILD((memcpy(p + 40, "child", 5), 0)), "store in a child");
	STEP(p[40], "the parent sees it");
	return end();
}
