/* One of two mappings goes; the other one has the lines to the end of the process. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4), *q = mapped("file", 4);
	p[PAGE + 100] ^= 1;
	munmap(p, 4 * PAGE);
	if (!wrong)
		sync_range(q, 4);
	return 0;
}
