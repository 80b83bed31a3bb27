/* Syncs its data, and shares a lock file that it never syncs. */
#include "../check/check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4), *lock = mapped("big", 64);
	lock[0] ^= 1;
	p[PAGE] ^= 1;
	sync_range(p, 4);
	lock[0] ^= 3;
	return 0;
}
