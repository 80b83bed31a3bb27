/* As exited, by _exit, in a child; the parent has the file mapped too. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	if (in_child()) {
		p[0] ^= 1;
		if (!wrong)
			sync_range(p, 1);
		_exit(0);
	}
	return 0;
}
