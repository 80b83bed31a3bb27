/* The other mapping has only the first page of what goes: the store lies behind it. */
#include "check.h"

static NOINLINE void bug(char *p)
{
	munmap(p, 4 * PAGE);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	mapped("file", 1);
	p[PAGE + 100] ^= 1;
	if (!wrong)
		sync_range(p, 4);
	bug(p);
	return 0;
}
