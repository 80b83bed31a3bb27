#include "check.h"
#include "libpmem.h"

static NOINLINE void bug(char *p)
{
	munmap(p, 4 * PAGE);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	pmem_memset(p + PAGE, wrong ? 5 : 6, 1000, wrong ? PMEM_F_MEM_NODRAIN : 0);
	bug(p);
	return 0;
}
