/* A child executes another program: its mapping goes, and its parent's stays. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[0] ^= 1;
	if (in_child()) {
		execlp("true", "true", NULL);
		_exit(99);
	}
	if (!wrong)
		sync_range(p, 1);
	return 0;
}
