/* On DAX only: an untagged file. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	static char zeros[4 * PAGE];
	int fd = open("locks", O_RDWR | O_CREAT, 0600);
	must(write(fd, zeros, sizeof zeros) == sizeof zeros && fsync(fd) == 0, "write");
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED, "mmap");
	p[0] ^= 1;
	if (!wrong)
		sync_range(p, 1);
	return 0;
}
