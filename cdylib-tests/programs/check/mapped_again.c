/* Nothing is lost by the munmap: the store comes after it. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[0] ^= 1;
	sync_range(p, 1);
	munmap(p, 4 * PAGE);
	p = mapped("file", 4);
	p[0] ^= 1;
	if (!wrong)
		sync_range(p, 1);
	return 0;
}
