/* On DAX only, where untagged files are watched too: `plain` is written here, `sparse` is a hole. */
#include "check.h"

static NOINLINE char *bug(int fd)
{
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED, "mmap");
	return p;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int fd = open("sparse", O_RDWR | O_CREAT, 0600);
	static char zeros[4 * PAGE];
	if (wrong)
		must(ftruncate(fd, 4 * PAGE) == 0, "ftruncate");
	else
		must(write(fd, zeros, sizeof zeros) == sizeof zeros && fsync(fd) == 0, "write");
	char *p = bug(fd);
	p[0] ^= 1;
	sync_range(p, 1);
	return 0;
}
