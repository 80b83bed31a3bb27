#include "check.h"

static NOINLINE void bug(char *p)
{
	sync_range(p, 1);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *file = mapped("file", 4), *big = mapped("big", 64);
	big[5 * PAGE] ^= 1;
	bug(wrong ? file : big + 5 * PAGE);
	if (wrong)
		sync_range(big + 5 * PAGE, 1);
	return 0;
}
