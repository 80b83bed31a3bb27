/* daxshim_persist: the same results with the shim and without, on any file. */
#include "common.h"
#include "daxshim.h"

#define RW (PROT_READ | PROT_WRITE)

static char *map(const char *name, int flags, long pages)
{
	int fd = name ? open(name, O_RDWR) : -1;
	char *p = mmap(NULL, pages * PAGE, RW, flags, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	close(fd);
	return p;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	char *p = map("file", MAP_SHARED, 4), *t = map("tail", MAP_SHARED, 8), *plain = map("plain", MAP_SHARED, 1);
	STEP((memcpy(p + 10, "stored", 6), p[3 * PAGE + 4095] = '!'), "store");
	STEP(daxshim_persist(p, 4 * PAGE), "all of it");
	STEP(daxshim_persist(p + 10, 6), "some bytes");
	STEP(daxshim_persist(p + 63, 2), "over a line's end");
	STEP(daxshim_persist(p + PAGE - 1, 2 * PAGE), "unaligned");
	STEP(daxshim_persist(p, 0), "empty");
	STEP(daxshim_persist(NULL, 0), "NULL, empty");
	STEP(daxshim_persist(NULL, 1), "NULL");
	STEP(daxshim_persist(p, SIZE_MAX), "too long");
	STEP(daxshim_persist(p + 1, SIZE_MAX - (uintptr_t)p - 1), "to the end of the address space");
	STEP(daxshim_persist((void *)0xffff800000000000, 1), "a kernel address");
	STEP((t[PAGE + 99] = '!', daxshim_persist(t + PAGE + 99, 1)), "the last byte");
	STEP(daxshim_persist(t + 5, 8 * PAGE - 5), "beyond the end of the file");
	STEP(daxshim_persist(t + 3 * PAGE + 7, 1), "wholly beyond the end of the file");
	STEP((plain[0] = '!', daxshim_persist(plain, 1)), "plain");
	STEP(daxshim_persist(map("file", MAP_PRIVATE, 4) + 1, PAGE), "private");
	STEP(daxshim_persist(map(NULL, MAP_PRIVATE | MAP_ANONYMOUS, 1) + 1, 1), "anonymous");
	STEP(IN_CHILD((p[30] = '!', daxshim_persist(p + 30, 1))), "in a child");
	STEP(daxshim_persist(p + PAGE + 1, 1), "page 1");
	STEP(munmap(p + PAGE, PAGE), "unmap page 1");
	STEP(daxshim_persist(p + PAGE + 1, 1), "page 1 again");
	STEP((p[2 * PAGE] = '!', daxshim_persist(p + 1, 3 * PAGE)), "over the hole");
	STEP(daxshim_persist(p + PAGE + 1, 1), "the hole");
	STEP(daxshim_persist(p + 2 * PAGE, 1), "behind the hole");
	return end();
}
