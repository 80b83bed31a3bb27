/* Nothing wrong in either: forks, the same file mapped twice, another directory, a removed file, a failed
 * exec, a sync by another process or through another mapping, lines stored to again with what they had. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *one = mapped("file", 4), *two = mapped("file", 4);
	one[0] ^= 1;
	sync_range(two, 1);
	if (in_child()) {
		one[PAGE] ^= 1;
		_exit(0);
	}
	sync_range(two + PAGE, 1);
	two[2 * PAGE] ^= 1;
	if (in_child()) {
		sync_range(one + 2 * PAGE, 1);
		_exit(0);
	}
	must(execl("/nowhere/to/be/found", "x", NULL) == -1, "execl");
	two[3 * PAGE] ^= 1;
	munmap(one, 4 * PAGE);
	munmap(two, 4 * PAGE);
	one = mapped("file", 4);
	sync_range(one + 3 * PAGE, 1);
	one[0] = one[0];
	int gone = open("gone", O_RDWR | O_CREAT, 0600);
	must(ftruncate(gone, PAGE) == 0 && unlink("gone") == 0 && chdir("/") == 0, "gone");
	one[100] ^= 1;
	sync();
	return 0;
}
