/* `huge` is synced in whole so often that comparing all of it each time takes longer than check may. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("huge", 2048);
	for (int i = 0; i < 500; i++) {
		p[i * PAGE]++;
		sync_range(p, 2048);
	}
	p[2047 * PAGE]++;
	return 0;
}
