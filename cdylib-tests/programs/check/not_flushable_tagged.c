/* The extents of `broken` are not those of its tag: no mapping of it is a sync mapping. */
#include "check.h"
#include "libpmem.h"

static NOINLINE void bug(char *p)
{
	if (wrong)
		pmem_persist(p, 1);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("broken", 1);
	p[0] ^= 1;
	bug(p);
	sync_range(p, 1);
	return 0;
}
