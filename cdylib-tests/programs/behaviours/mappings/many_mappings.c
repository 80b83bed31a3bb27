/* Thousands of mappings: where a table is full the kernel must take over, never silence. */
#include "common.h"

static char *map(int fd, int prot, int flags, long pages, long offset)
{
	char *p = mmap(NULL, pages * PAGE, prot, flags, fd, offset);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

#define RW (PROT_READ | PROT_WRITE)

/* More than any table of a fixed small size holds. */
enum { MANY = 3000 };

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	int fd = open("file", O_RDWR);
	static char *at[MANY];
	long wrong = 0;
	for (int i = 0; i < MANY; i++)
		at[i] = map(fd, RW, MAP_SHARED, 1, i % 4 * PAGE);
	for (int i = 0; i < MANY; i++) {
		at[i][i % PAGE] = '!';
		wrong += msync(at[i], PAGE, MS_SYNC) != 0;
	}
	STEP(wrong, "msync of each of %d failed", MANY);
	for (int i = 0; i < MANY; i += 2)
		munmap(at[i], PAGE);
	wrong = 0;
	for (int i = 0; i < MANY; i++)
		wrong += (msync(at[i], PAGE, MS_SYNC) != 0) != (i % 2 == 0);
	STEP(wrong, "wrong answers with every other one unmapped");
	STEP(fsync(fd), "fsync");
	for (int i = 1; i < MANY; i += 2)
		munmap(at[i], PAGE);
	char *p = map(fd, RW, MAP_SHARED, 4, 0);
	STEP((p[5] = '?', msync(p, 4 * PAGE, MS_SYNC)), "one more");
	return end();
}
