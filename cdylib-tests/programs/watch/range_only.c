/* sync_file_range(2) writes pages, and neither commits what leads to them nor empties the device's cache. */
#include "../check/check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int fd = opened("file");
	char *p = mapped("file", 4);
	p[PAGE] ^= 1;
	sync_range(p, 4);
	p[0] ^= 1;
	if (wrong)
		must(sync_file_range(fd, 0, 0, 7) == 0, "sync_file_range");
	else
		must(fdatasync(fd) == 0, "fdatasync");
	return 0;
}
