#include "check.h"

static NOINLINE void bug(char *p)
{
	sync_range(p, 4);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[3 * PAGE] ^= 1;
	sync_range(p, 4);
	for (int i = 0; i < 3; i++) {
		if (!wrong)
			p[PAGE * i] ^= 1;
		bug(p);
	}
	return 0;
}
