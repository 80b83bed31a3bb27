#include "executed.h"

static int (*execveat_)(int, const char *, char *const *, char *const *, int);

#define RUN(environment, count) IN_CHILD(execveat_(AT_FDCWD, self, ARGUMENTS(count), environment, 0))

int main(int argc, char **argv)
{
	begin_executed(argc, argv);
	execveat_ = symbol;
	int fd = open(self, O_RDONLY), path = open(self, O_PATH), directory = open("/bin", O_PATH);
	FOR_ENVIRONMENTS(RUN);
	STEP(RUN(NULL, "0"), "no environment");
	STEP(IN_CHILD(execveat_(fd, "", ARGUMENTS("0"), EMPTY, AT_EMPTY_PATH)), "by descriptor");
	STEP(IN_CHILD(execveat_(path, "", ARGUMENTS("0"), EMPTY, AT_EMPTY_PATH)), "by descriptor, O_PATH");
	STEP(IN_CHILD(execveat_(fd, "", ARGUMENTS("0"), EMPTY, 0)), "by descriptor, without the flag");
	STEP(IN_CHILD(execveat_(fd, NULL, ARGUMENTS("0"), EMPTY, AT_EMPTY_PATH)), "by descriptor, NULL");
	STEP(IN_CHILD(execveat_(directory, "true", ARGUMENTS("0"), EMPTY, 0)), "in a directory");
	STEP(IN_CHILD(execveat_(directory, "true", ARGUMENTS("0"), EMPTY, 1)), "a bad flag");
	STEP(IN_CHILD(execveat_(AT_FDCWD, "symlink", ARGUMENTS("0"), EMPTY, AT_SYMLINK_NOFOLLOW)), "a symlink, not followed");
	FOR_AT_ROUTES(r)
		STEP(IN_CHILD(execveat_(r->fd, r->path, ARGUMENTS("0"), EMPTY, AT_EMPTY_PATH)), "%s", r->name);
	return end();
}
