#include "check.h"

static NOINLINE void bug(char *p)
{
	sync_range(p, 2);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("tail", 2);
	p[0] ^= 1;
	p[PAGE + (wrong ? 2000 : 90)] ^= 1;
	bug(p);
	return 0;
}
