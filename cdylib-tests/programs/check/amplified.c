#include "check.h"

static NOINLINE void bug(char *p)
{
	if (wrong)
		sync_range(p, 64);
	else
		sync_range(p + 9 * PAGE, 1);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("big", 64);
	p[9 * PAGE + 1] ^= 1;
	bug(p);
	return 0;
}
