#include "check.h"

static NOINLINE void bug(char *p)
{
	must(mmap(p + PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED, "mmap");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[PAGE + 100] ^= 1;
	if (!wrong)
		sync_range(p + PAGE, 1);
	bug(p);
	return 0;
}
