#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*renameat_)(int, const char *, int, const char *) = symbol;
	FOR_AT_ROUTES(r) {
		STEP(renameat_(r->fd, r->path, DIR_FD, "new"), "%s to new", r->name);
		STEP(renameat_(DIR_FD, "plain", r->fd, r->path), "plain over %s", r->name);
	}
	STEP(renameat_(DIR_FD, "file", AT_FDCWD, "file"), "onto itself");
	STEP(renameat_(DIR_FD, "file", AT_FDCWD, "hardlink"), "onto its other name");
	STEP(renameat_(DIR_FD, "hardlink", AT_FDCWD, "file"), "its other name onto it");
	STEP(renameat_(DIR_FD, "file", AT_FDCWD, "symlink"), "over a symlink to it");
	STEP(renameat_(DIR_FD, "symlink", AT_FDCWD, "file"), "a symlink over it");
	STEP(renameat_(DIR_FD, "symlink", AT_FDCWD, "new"), "a symlink to it");
	STEP(renameat_(DIR_FD, "file", AT_FDCWD, "sub"), "over a directory");
	STEP(renameat_(DIR_FD, "sub", AT_FDCWD, "file"), "a directory over it");
	STEP(renameat_(DIR_FD, "sub", AT_FDCWD, "new"), "a directory");
	STEP(renameat_(DIR_FD, "file", AT_FDCWD, "missing/new"), "into a missing directory");
	STEP(renameat_(DIR_FD, "file", AT_FDCWD, "sub/new/"), "to a name with a slash");
	STEP(renameat_(DIR_FD, "file", AT_FDCWD, "/proc/new"), "to another filesystem");
	STEP(renameat_(DIR_FD, "plain", AT_FDCWD, "symlink"), "plain over a symlink to it");
	char moved[PATH_MAX];
	snprintf(moved, sizeof moved, "%s.moved", dir);
	STEP(renameat_(-1, dir, -1, moved), "the directory it is in");
	STEP(renameat_(-1, moved, -1, dir), "the directory it is in, back");
	return end();
}
