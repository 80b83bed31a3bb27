/* A child unmaps what its parent still has. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[0] ^= 1;
	if (in_child()) {
		munmap(p, 4 * PAGE);
		_exit(0);
	}
	if (!wrong)
		sync_range(p, 1);
	return 0;
}
