/* Every function that executes a program, with an environment that was cleaned: what is executed
 * may not write to the tagged file. */
#include "executed.h"
#include <spawn.h>

extern char **environ;
static char command[2 * PATH_MAX];

static long spawned(int (*spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                                 char *const *, char *const *))
{
	pid_t child;
	fflush(stdout);
	errno = spawn(&child, self, NULL, NULL, ARGUMENTS("0"), EMPTY);
	return errno ? -1 : ended(child);
}

static long status(int status)
{
	errno = NO_ERROR;
	if (status == 0)
		return 0;
	errno = WEXITSTATUS(status);
	return -1;
}

static long in_vfork(void)
{
	fflush(stdout);
	pid_t child = vfork();
	if (child == 0) {
		execve(self, ARGUMENTS("0"), EMPTY);
		_exit(99);
	}
	return ended(child);
}

int main(int argc, char **argv)
{
	begin_executed(argc, argv);
	snprintf(command, sizeof command, "exec '%s' " CHILD " -1", self);
	STEP(clearenv(), "clearenv");
	fflush(stdout);
	STEP(IN_CHILD(execv(self, ARGUMENTS("0"))), "execv");
	STEP(IN_CHILD(execvp(self, ARGUMENTS("0"))), "execvp");
	STEP(IN_CHILD(execvpe(self, ARGUMENTS("0"), EMPTY)), "execvpe");
	STEP(IN_CHILD(execl(self, self, CHILD, "0", NULL)), "execl");
	STEP(IN_CHILD(execlp(self, self, CHILD, "0", NULL)), "execlp");
	STEP(IN_CHILD(execle(self, self, CHILD, "0", NULL, EMPTY)), "execle");
	STEP(IN_CHILD(execve(self, ARGUMENTS("0"), EMPTY)), "execve");
	STEP(IN_CHILD(execveat(AT_FDCWD, self, ARGUMENTS("0"), EMPTY, 0)), "execveat");
	STEP(IN_CHILD(fexecve(open(self, O_RDONLY), ARGUMENTS("0"), EMPTY)), "fexecve");
	STEP(IN_CHILD(syscall(SYS_execve, self, ARGUMENTS("0"), EMPTY)), "syscall execve");
	STEP(IN_CHILD(syscall(SYS_execveat, AT_FDCWD, self, ARGUMENTS("0"), EMPTY, 0)), "syscall execveat");
	STEP(spawned(posix_spawn), "posix_spawn");
	STEP(spawned(posix_spawnp), "posix_spawnp");
	STEP(in_vfork(), "execve in a child of vfork");
	STEP(status(system(command)), "system");
	STEP(status(pclose(popen(command, "r"))), "popen");
	STEP(write(50, "WXYZ", 4), "a write in this process");
	/* A program that changes its title writes over the environment it was started with. */
	for (char **variable = argv + argc + 1; *variable; variable++)
		memset(*variable, 'x', strlen(*variable));
	STEP(spawned(posix_spawn), "posix_spawn after that");
	return end();
}
