/* The file is cut, in the middle of a line, and grows again: what is not there any more needs no sync. */
#include "../check/check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int fd = opened("file");
	char *p = mapped("file", 1);
	p[0] ^= 1;
	sync_range(p, 1);
	must(ftruncate(fd, PAGE + 100) == 0, "ftruncate");
	must(ftruncate(fd, 3 * PAGE) == 0, "ftruncate");
	/* One that fails cuts nothing off. */
	must(ftruncate(open("file", O_RDONLY), 0) == -1, "ftruncate of what is open for reading");
	p[0] ^= 2;
	if (!wrong)
		sync_range(p, 1);
	return 0;
}
