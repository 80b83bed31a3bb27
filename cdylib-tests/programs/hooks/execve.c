#include "executed.h"

static int (*execve_)(const char *, char *const *, char *const *);

#define RUN(environment, count) IN_CHILD(execve_(self, ARGUMENTS(count), environment))

int main(int argc, char **argv)
{
	begin_executed(argc, argv);
	execve_ = symbol;
	char *much = malloc(1 << 18), *many[200];
	memset(much, 'x', 1 << 18);
	much[(1 << 18) - 1] = 0;
	FOR_ENVIRONMENTS(RUN);
	STEP(RUN(NULL, "0"), "no environment");
	STEP(RUN(((char *[]){much, NULL}), "1"), "a variable too long");
	much[100000] = 0;
	for (int i = 0; i < 199; i++)
		many[i] = much;
	many[199] = NULL;
	STEP(RUN(many, "199"), "too many long ones");
	FOR_ROUTES(r)
		STEP(IN_CHILD(execve_(r->path, ARGUMENTS("0"), EMPTY)), "%s", r->name);
	STEP(IN_CHILD(execve_(self, (char **)8, EMPTY)), "arguments at a bad pointer");
	STEP(IN_CHILD(execve_(self, (char *[]){self, (char *)8, NULL}, EMPTY)), "an unreadable argument");
	STEP(IN_CHILD(execve_("/bin/true", NULL, EMPTY)), "no arguments");
	STEP(IN_CHILD(execve_("/proc/self/exe", ARGUMENTS("0"), EMPTY)), "/proc/self/exe");
	errno = NO_ERROR;
	STEP(execve_("missing", ARGUMENTS("0"), EMPTY), "missing, and this process goes on");
	STEP(write(50, "WXYZ", 4), "a write after that");
	return end();
}
