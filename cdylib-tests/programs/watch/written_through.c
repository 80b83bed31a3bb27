/* What is written through a descriptor that was opened with O_DSYNC needs no fsync. */
#include "../check/check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int fd = open("file", O_RDWR | (wrong ? 0 : O_DSYNC));
	char *p = mapped("file", 1);
	p[0] ^= 1;
	sync_range(p, 1);
	must(pwrite(fd, "there", 5, 2 * PAGE + 100) == 5, "pwrite");
	must(lseek(fd, 5 * PAGE - 2, SEEK_SET) >= 0, "lseek");
	must(write(fd, "behind", 6) == 6, "write");
	return 0;
}
