/* msync(MS_ASYNC), as Boost's mapped_region::flush() calls it, makes nothing durable. */
#include "../check/check.h"

static NOINLINE void bug(char *p)
{
	must(msync(p, 4 * PAGE, wrong ? MS_ASYNC : MS_SYNC) == 0, "msync");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[PAGE] ^= 1;
	bug(p);
	return 0;
}
