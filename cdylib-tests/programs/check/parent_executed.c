/* A child that has the lines mapped ends first: they go with its parent's execve. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	pid_t child = fork();
	must(child >= 0, "fork");
	if (child == 0)
		_exit(0);
	must(waitpid(child, NULL, 0) == child, "waitpid");
	p[0] ^= 1;
	if (!wrong)
		sync_range(p, 1);
	execlp("true", "true", NULL);
	return 1;
}
