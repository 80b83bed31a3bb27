/* The first of two, after a sync of what others stored; and nobody who stored elsewhere. */
#include "blame.h"

static NOINLINE void before(char *p)
{
	p[0] ^= 1;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	before(p + PAGE);
	sync_range(p, 4);
	writer(p + PAGE);
	later(p + PAGE);
	/* Nothing is lost there. */
	later(p + 2 * PAGE);
	later(p + 2 * PAGE);
	return 0;
}
