#include "check.h"

static NOINLINE void bug(char *p)
{
	sync_range(wrong ? p : p + 2 * PAGE, 1);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[2 * PAGE] ^= 1;
	bug(p);
	if (wrong)
		sync_range(p + 2 * PAGE, 1);
	return 0;
}
