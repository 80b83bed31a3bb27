/* munmap with dirty lines is no fault if fsync comes after it. */
#include "check.h"

static NOINLINE void bug(char *p)
{
	munmap(p, 4 * PAGE);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int fd = opened("file");
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	p[PAGE + 100] ^= 1;
	bug(p);
	if (!wrong)
		must(fsync(fd) == 0, "fsync");
	return 0;
}
