#include "common.h"

static void (*exit_)(int) __attribute__((noreturn));

static int child(int status)
{
	int how;
	pid_t pid = fork();
	if (pid == 0)
		exit_(status);
	return waitpid(pid, &how, 0) == pid && WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	*(void **)&exit_ = symbol;
	STEP(child(0), "0");
	STEP(child(7), "7");
	STEP(child(256 + 9), "more than a byte");
	return end();
}
