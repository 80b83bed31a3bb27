/* Whoever looks at what is to be executed leaves the program's record locks on it alone. */
#include "common.h"

/* Whether the process still has its record lock on `path`, as another one sees it. */
static bool is_locked(const char *path)
{
	return !IN_CHILD(({
		struct flock lock = {.l_type = F_WRLCK};
		int fd = raw(SYS_openat, AT_FDCWD, path, O_RDONLY);
		raw(SYS_fcntl, fd, F_GETLK, &lock);
		errno = ENOLCK;
		lock.l_type == F_UNLCK ? -1 : 0;
	}));
}

static int script(const char *path, const char *interpreter)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0700);
	if (fd < 0 || dprintf(fd, "#!%s\n", interpreter) < 0 || close(fd))
		die(path);
	return open(path, O_RDONLY);
}

static void execute(const char *what, const char *path, const char *locked, int fd)
{
	extern char **environ;
	char *arguments[] = {"script", NULL};
	struct flock lock = {.l_type = F_RDLCK};
	if (fcntl(fd, F_SETLK, &lock))
		die("F_SETLK");
	errno = NO_ERROR;
	long result = execve(path, arguments, environ);
	int error = errno;
	bool still = is_locked(locked);
	STEP((errno = error, result), "%s (locked %d)", what, still);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int inner = script("inner", "/nonexistent");
	int outer = script("outer", "./inner");
	execute("a script that the program locks", "inner", "inner", inner);
	execute("an interpreter that the program locks", "outer", "inner", inner);
	execute("a script of a script", "outer", "outer", outer);
	unlink("inner");
	unlink("outer");
	return end();
}
