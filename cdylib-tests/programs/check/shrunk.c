#include "check.h"

static NOINLINE void bug(char *p)
{
	must(mremap(p, 4 * PAGE, PAGE, 0) == p, "mremap");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[3 * PAGE] ^= 1;
	if (!wrong)
		sync_range(p + 3 * PAGE, 1);
	bug(p);
	return 0;
}
