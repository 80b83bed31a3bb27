/* SIGSEGV is ignored, which execve keeps: what is executed has it so, and can store. */
#include "blame.h"

#include <spawn.h>

extern char **environ;

static void is_ignored(void)
{
	struct sigaction known;
	must(sigaction(SIGSEGV, NULL, &known) == 0 && known.sa_handler == SIG_IGN, "ignored");
}

static void with_stage(const char *stage)
{
	must(setenv("STAGE", stage, 1) == 0, "setenv");
}

/* By vfork and execve, too. */
static void spawns(char **argv)
{
	pid_t child;
	int status;
	with_stage("spawned");
	must(posix_spawn(&child, argv[0], NULL, NULL, argv, environ) == 0, "posix_spawn");
	must(waitpid(child, &status, 0) == child && status == 0, "spawned");
	child = vfork();
	if (child == 0) {
		execv("/nowhere", argv);
		execv(argv[0], argv);
		_exit(98);
	}
	must(waitpid(child, &status, 0) == child && status == 0, "executed after vfork");
}

/* What is ignored interrupts nothing. */
static void reads_on(void)
{
	int ends[2];
	char byte = 0;
	must(pipe(ends) == 0, "pipe");
	pid_t parent = getpid(), child = fork();
	must(child >= 0, "fork");
	if (child == 0) {
		char path[64], line[256], state = 0;
		snprintf(path, sizeof path, "/proc/%d/stat", parent);
		while (state != 'S') {
			int fd = open(path, O_RDONLY);
			ssize_t length = read(fd, line, sizeof line - 1);
			close(fd);
			line[length > 0 ? length : 0] = 0;
			char *end = strrchr(line, ')');
			state = end ? end[2] : 'S';
		}
		kill(parent, SIGSEGV);
		_exit(write(ends[1], &byte, 1) != 1);
	}
	must(read(ends[0], &byte, 1) == 1, "read goes on");
	must(waitpid(child, NULL, 0) == child, "waitpid");
}

int main(int argc, char **argv)
{
	const char *stage = getenv("STAGE");
	if (stage == NULL) {
		begin(argc, argv);
		signal(SIGSEGV, SIG_IGN);
		is_ignored();
		with_stage("executed");
		argv[2] = ".";
		execv(argv[0], argv);
		return 97;
	}
	is_ignored();
	if (strcmp(stage, "spawned") == 0)
		return 0;
	begin(argc, argv);
	spawns(argv);
	char *p = mapped("file", 4);
	later(p + PAGE);
	raise(SIGSEGV);
	sync_range(p, 4);
	reads_on();
	is_ignored();
	execv("/nowhere", argv);
	is_ignored();
	sync_range(p, 4);
	raise(SIGSEGV);
	writer(p + PAGE);
	return 0;
}
