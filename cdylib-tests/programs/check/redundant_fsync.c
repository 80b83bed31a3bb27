#include "check.h"

static NOINLINE void bug(int fd)
{
	must(fdatasync(fd) == 0, "fdatasync");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	if (!wrong)
		p[0] ^= 1;
	bug(opened("file"));
	return 0;
}
