#include "check.h"

static NOINLINE void bug(int fd)
{
	must(fdatasync(fd) == 0, "fdatasync");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[PAGE] ^= 1;
	must(fdatasync(opened("file")) == 0, "fdatasync");
	if (!wrong)
		p[0] ^= 1;
	bug(opened("file"));
	return 0;
}
