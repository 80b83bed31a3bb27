/* Stores and syncs nothing, neither this file nor another. */
#include "../check/check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[PAGE] ^= 1;
	if (!wrong)
		sync_range(p, 4);
	must(munmap(p, 4 * PAGE) == 0, "munmap");
	return 0;
}
