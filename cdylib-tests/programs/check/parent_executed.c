/* A child that has the lines mapped ends first: they go with its parent's execve. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	if (in_child())
		_exit(0);
	p[0] ^= 1;
	if (!wrong)
		sync_range(p, 1);
	execlp("true", "true", NULL);
	return 1;
}
