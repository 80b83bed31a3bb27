/* The file grows while it is mapped beyond its end, and what is stored there is not synced. */
#include "../check/check.h"

static NOINLINE void bug(char *p)
{
	munmap(p, 64 * PAGE);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int fd = opened("file");
	char *p = mapped("file", 64);
	p[0] ^= 1;
	sync_range(p, 4);
	must(ftruncate(fd, 40 * PAGE) == 0, "ftruncate");
	p[30 * PAGE + 100] = 1;
	sync_range(p + 30 * PAGE, 1);
	p[35 * PAGE + 100] = 1;
	if (!wrong)
		sync_range(p + 35 * PAGE, 1);
	bug(p);
	return 0;
}
