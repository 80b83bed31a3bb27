/* Stacks in the mapping: an alternate one for signals, of the kernel's making each; one of clone(2). */
#include "blame.h"

#include <sched.h>

static atomic_int handled;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)info, (void)context;
	atomic_fetch_add(&handled, 1);
}

static int on_own_stack(void *p)
{
	volatile char room[3 * PAGE];
	memset((char *)room, 1, sizeof room);
	sync_range(p, 4);
	return room[0];
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	char *big = mapped("big", 64);
	sync_range(p, 4);
	sync_range(big, 64);
	must(sigaltstack(&(stack_t){ .ss_sp = big, .ss_size = 16 * PAGE }, NULL) == 0, "sigaltstack");
	handle(SIGUSR1, on_signal, SA_ONSTACK);
	for (int i = 0; i < 3; i++) {
		sync_range(big, 64);
		raise(SIGUSR1);
	}
	must(atomic_load(&handled) == 3, "handled");
	/* The fault of a first store, on the alternate stack. */
	writer(p + PAGE);
	must(sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL) == 0, "sigaltstack");

	sync_range(big, 64);
	pid_t child = clone(on_own_stack, big + 64 * PAGE, CLONE_VM | CLONE_FILES | SIGCHLD, p);
	int status;
	must(child > 0 && waitpid(child, &status, 0) == child, "clone");
	must(WIFEXITED(status) && WEXITSTATUS(status) == 1, "on its own stack");

	sync_range(big, 64);
	sync_range(p, 4);
	writer(p);
	return 0;
}
