/* A file is mapped again and again by the descriptor that was kept; then the number is another file's, a shorter one's, and
 * nobody saw it coming. */
#include "common.h"
#include "daxshim.h"

#define RW (PROT_READ | PROT_WRITE)

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	int fd = open("file", O_RDWR);
	for (int i = 0; i < 3; i++) {
		char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			die("mmap");
		p[i * PAGE] = '!';
		STEP(msync(p, 4 * PAGE, MS_SYNC), "msync of mapping %d", i);
		STEP(daxshim_needs_msync(p, 4 * PAGE), "mapping %d: needs msync", i);
		munmap(p, 4 * PAGE);
	}
	raw(SYS_close, fd);
	if (raw(SYS_openat, AT_FDCWD, "tail", O_RDWR) != fd)
		die("the number is not free");
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	p[0] = p[PAGE] = '?';
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync of the other file, and behind its end");
	STEP(msync(p, 2 * PAGE, MS_SYNC), "msync of the other file");
	STEP(fsync(fd), "fsync of it");
	return end();
}
