#include "check.h"

static NOINLINE void bug(int fd)
{
	if (wrong)
		must(pwrite(fd, "x", 1, 0) == -1 && errno == EPERM, "pwrite");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	bug(opened("file"));
	p[0] ^= 1;
	sync_range(p, 1);
	return 0;
}
