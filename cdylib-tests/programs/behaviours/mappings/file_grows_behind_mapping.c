/* The file is extended under a mapping that reaches beyond its end, past the hooks: what is stored
 * behind the old end is synced as well, by the kernel. */
#include "common.h"

#define RW (PROT_READ | PROT_WRITE)

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*msync_)(void *, size_t, int) = symbol;
	keep = true;
	int fd = open("tail", O_RDWR); /* a page and 100 bytes */
	char *p = mmap(NULL, 8 * PAGE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	p[0] = '!';
	STEP(msync_(p, 8 * PAGE, MS_SYNC), "before it grows");
	STEP(raw(SYS_ftruncate, fd, 6 * PAGE), "grown");
	p[0] = p[PAGE + 99] = p[PAGE + 100] = p[5 * PAGE] = '!';
	STEP(msync_(p, 8 * PAGE, MS_SYNC), "all of it");
	STEP(msync_(p, 2 * PAGE, MS_SYNC), "up to the old end");
	STEP(msync_(p + 2 * PAGE, 4 * PAGE, MS_SYNC), "what it grew by");
	STEP(fdatasync(fd), "fdatasync");
	STEP(sync_file_range(fd, 0, 0, 7), "sync_file_range");
	STEP(fsync(fd), "fsync"); /* the kernel's; and the tag, which is of another size now, is looked at */
	char *q = mmap(NULL, 6 * PAGE, RW, MAP_SHARED, fd, 0);
	if (q == MAP_FAILED)
		die("mmap");
	STEP((q[5 * PAGE] = '?', msync_(q, 6 * PAGE, MS_SYNC)), "mapped anew");
	STEP(p[5 * PAGE] == '?', "both see it");
	return end();
}
