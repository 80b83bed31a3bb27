/* `plain` has no tag, and nobody asks for MAP_SYNC. */
#include "check.h"
#include "libpmem.h"

static NOINLINE void bug(char *p)
{
	if (wrong)
		pmem_persist(p, 1);
	else
		must(pmem_msync(p, 1) == 0, "pmem_msync");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("plain", 1);
	p[0] ^= 1;
	bug(p);
	/* On DAX it is watched. */
	if (wrong)
		sync_range(p, 1);
	return 0;
}
