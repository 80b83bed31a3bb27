/* `broken` has a tag whose extents are not its own. */
#include "check.h"

static NOINLINE void bug(int fd)
{
	must(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0) != MAP_FAILED, "mmap");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	bug(opened(wrong ? "broken" : "file"));
	return 0;
}
