#include "check.h"

static NOINLINE void bug(char *p)
{
	sync_range(p, 4);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mmap(NULL, 4 * PAGE, RW, wrong ? MAP_PRIVATE : MAP_SHARED, opened("file"), 0);
	must(p != MAP_FAILED, "mmap");
	p[PAGE] ^= 1;
	bug(p);
	return 0;
}
