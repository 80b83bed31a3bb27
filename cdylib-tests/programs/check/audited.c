/* In audit mode. */
#include "check.h"

static NOINLINE void bug(int fd)
{
	if (wrong)
		must(pwrite(fd, "x", 1, 0) == 1, "pwrite");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	bug(opened("file"));
	return 0;
}
