/* The constructors of a preloaded library leave errno and the descriptors as they found them. */
#include "common.h"

int main(int argc, char **argv)
{
	int at_main = errno;
	int lowest = syscall(SYS_dup, 1);
	struct sigaction action;
	sigset_t blocked;
	int ignored = 0;

	sigprocmask(SIG_BLOCK, NULL, &blocked);
	for (int i = 1; i < 32; i++) {
		sigaction(i, NULL, &action);
		ignored += action.sa_handler != SIG_DFL;
	}
	mode_t mask = umask(0);
	begin(argc, argv);
	printf("errno %d, first free descriptor %d, handlers %d, first signals blocked %d, umask %o\n", at_main, lowest, ignored,
	       sigismember(&blocked, SIGINT), mask);
	return end();
}
