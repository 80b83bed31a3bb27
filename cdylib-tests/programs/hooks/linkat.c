#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*linkat_)(int, const char *, int, const char *, int) = symbol;
	FOR_ROUTES(r) {
		STEP(linkat_(AT_FDCWD, r->path, AT_FDCWD, "new", 0), "AT_FDCWD %s", r->name);
		STEP(linkat_(AT_FDCWD, r->path, AT_FDCWD, "new", AT_SYMLINK_FOLLOW), "AT_FDCWD FOLLOW %s", r->name);
	}
	FOR_AT_ROUTES(r) {
		STEP(linkat_(r->fd, r->path, DIR_FD, "new", 0), "%s", r->name);
		STEP(linkat_(r->fd, r->path, DIR_FD, "new", AT_SYMLINK_FOLLOW), "FOLLOW %s", r->name);
		STEP(linkat_(r->fd, r->path, SUB_FD, "../new", AT_EMPTY_PATH), "EMPTY_PATH %s", r->name);
		STEP(linkat_(DIR_FD, "file", r->fd, r->path, 0), "to %s", r->name);
	}
	STEP(linkat_(DIR_FD, "file", SUB_FD, "inner", 0), "to a name that exists");
	STEP(linkat_(DIR_FD, "file", SUB_FD, "missing/new", 0), "to a missing directory");
	STEP(linkat_(DIR_FD, "file", DIR_FD, "new", AT_SYMLINK_NOFOLLOW), "a flag it has not");
	STEP(linkat_(DIR_FD, "file", DIR_FD, "new", -1), "all flags");
	STEP(linkat_(AT_FDCWD, "/proc/self/fd/100", AT_FDCWD, "new", AT_SYMLINK_FOLLOW), "/proc/self/fd, FOLLOW");
	STEP(linkat_(AT_FDCWD, "/proc/self/fd/101", AT_FDCWD, "new", AT_SYMLINK_FOLLOW), "/proc/self/fd of O_PATH, FOLLOW");
	return end();
}
