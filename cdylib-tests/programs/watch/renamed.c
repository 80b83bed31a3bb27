/* Written under one name, and given another when it is whole: by then it must be durable. */
#include "../check/check.h"

static NOINLINE void bug(char *p)
{
	munmap(p, 4 * PAGE);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int fd = open("file.new", O_RDWR | O_CREAT | O_EXCL, 0600);
	must(fd >= 0 && ftruncate(fd, 4 * PAGE) == 0, "file.new");
	char *p = mapped("file.new", 4);
	p[PAGE] = 1;
	sync_range(p, 4);
	p[2 * PAGE] = 1;
	if (!wrong)
		sync_range(p, 4);
	bug(p);
	must(rename("file.new", "file") == 0, "rename");
	return 0;
}
