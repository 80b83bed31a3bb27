#include "check.h"

static NOINLINE void bug(int fd)
{
	if (wrong)
		must(ftruncate(fd, 4 * PAGE) == -1 && errno == EPERM, "ftruncate");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	bug(opened("file"));
	return 0;
}
