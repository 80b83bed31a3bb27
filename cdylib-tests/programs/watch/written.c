/* write(2) to a mapped file is a store like any other: fsync makes it durable, also where nothing is mapped. */
#include "../check/check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int fd = opened("file");
	char *p = mapped("file", 1);
	p[0] ^= 1;
	must(fsync(fd) == 0, "fsync");
	must(pwrite(fd, "written", 7, 2 * PAGE + 100) == 7, "pwrite");
	must(pwrite(fd, "appended", 8, 5 * PAGE) == 8, "pwrite");
	if (!wrong)
		must(fdatasync(fd) == 0, "fdatasync");
	return 0;
}
