#include "check.h"

static NOINLINE void bug(int fd)
{
	if (wrong)
		must(fsync(fd) == 0, "fsync");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[0] ^= 1;
	p[PAGE] ^= 1;
	sync_range(p, wrong ? 1 : 2);
	bug(opened("file"));
	return 0;
}
