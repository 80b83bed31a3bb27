#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[0] ^= 1;
	if (!wrong)
		sync_range(p, 1);
	raise(SIGKILL);
	return 0;
}
