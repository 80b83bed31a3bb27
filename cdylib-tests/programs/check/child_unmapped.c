/* A child unmaps what its parent still has. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[0] ^= 1;
	pid_t child = fork();
	must(child >= 0, "fork");
	if (child == 0) {
		munmap(p, 4 * PAGE);
		_exit(0);
	}
	must(waitpid(child, NULL, 0) == child, "waitpid");
	if (!wrong)
		sync_range(p, 1);
	return 0;
}
