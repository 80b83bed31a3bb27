/* Stores, and moves the file to another directory: check can't compare it any more, and says so. */
#include "../check/check.h"
#include <sys/stat.h>

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[PAGE] ^= 1;
	sync_range(p, 4);
	p[0] ^= 1;
	must(mkdir("away", 0700) == 0, "mkdir");
	must(rename("file", "away/file") == 0, "rename");
	return 0;
}
