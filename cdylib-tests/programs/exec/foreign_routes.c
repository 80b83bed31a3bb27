/* FOREIGN_ROUTES PROGRAM: executes it by every route, with the environment as it is and with one that says nothing
 * of the library; prints how each ended. */
#include "common.h"
#include <spawn.h>

extern char **environ;
static char *given[] = {NULL, NULL};
#define EMPTY (char *[]){"A=1", NULL}

static long spawned(int (*spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                                 char *const *, char *const *),
                    char **environment)
{
	pid_t child;
	errno = spawn(&child, *given, NULL, NULL, given, environment);
	return errno ? -1 : ended(child);
}

static long status(int status)
{
	errno = WEXITSTATUS(status);
	return status == 0 ? 0 : -1;
}

#define ROUTE(call) (printf("%s: %ld\n", #call, (long)(call)), fflush(stdout))

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	*given = argv[1];
	ROUTE(IN_CHILD(execve(*given, given, environ)));
	ROUTE(IN_CHILD(execve(*given, given, EMPTY)));
	ROUTE(IN_CHILD(execv(*given, given)));
	ROUTE(IN_CHILD(execvp(*given, given)));
	ROUTE(IN_CHILD(execl(*given, *given, NULL)));
	ROUTE(IN_CHILD(execveat(AT_FDCWD, *given, given, environ, 0)));
	ROUTE(IN_CHILD(execveat(open(*given, O_PATH), "", given, environ, AT_EMPTY_PATH)));
	/* Not O_CLOEXEC: the interpreter of a script opens it by the descriptor's name. */
	ROUTE(IN_CHILD(fexecve(open(*given, O_RDONLY), given, environ)));
	ROUTE(IN_CHILD(syscall(SYS_execve, *given, given, environ)));
	ROUTE(IN_CHILD(syscall(SYS_execveat, AT_FDCWD, *given, given, environ, 0)));
	ROUTE(spawned(posix_spawn, environ));
	ROUTE(spawned(posix_spawn, EMPTY));
	ROUTE(spawned(posix_spawnp, environ));
	ROUTE(status(system(*given)));
	ROUTE(status(pclose(popen(*given, "r"))));
	depths = "vfork instead of fork";
	ROUTE(IN_CHILD(execve(*given, given, environ)));
	ROUTE(IN_CHILD(execve(*given, given, EMPTY)));
	return 0;
}
