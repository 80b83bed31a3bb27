/* The first munmap leaves a mapping by which the store can still be synced; the second does not. */
#include "check.h"

static NOINLINE void bug(char *p)
{
	munmap(p, 4 * PAGE);
}

static NOINLINE void fine(char *p)
{
	munmap(p, 4 * PAGE);
	/* Not the end of the function: no tail call, so that it is on the stack. */
	__asm__ volatile("");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4), *q = mapped("file", 4);
	p[PAGE + 100] ^= 1;
	fine(p);
	if (!wrong)
		sync_range(q, 4);
	bug(q);
	return 0;
}
