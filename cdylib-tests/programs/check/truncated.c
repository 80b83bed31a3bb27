/* In audit mode, which lets it through: the twin gets the refusal's finding, and only that. */
#include "check.h"

static NOINLINE void bug(int fd)
{
	must(ftruncate(fd, PAGE) == 0, "ftruncate");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	if (!wrong)
		munmap(p + PAGE, 3 * PAGE);
	bug(opened("file"));
	p[0] ^= 1;
	sync_range(p, wrong ? 4 : 1);
	return 0;
}
