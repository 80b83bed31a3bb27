#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[2 * PAGE + 64] ^= 1;
	p[2 * PAGE + 128] ^= 1;
	if (!wrong)
		sync_range(p + 2 * PAGE, 1);
	return 0;
}
