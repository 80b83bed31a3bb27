#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*renameat2_)(int, const char *, int, const char *, unsigned) = symbol;
	FOR_AT_ROUTES(r) {
		STEP(renameat2_(r->fd, r->path, DIR_FD, "new", 0), "%s to new", r->name);
		STEP(renameat2_(DIR_FD, "plain", r->fd, r->path, 0), "plain over %s", r->name);
		STEP(renameat2_(DIR_FD, "plain", r->fd, r->path, RENAME_NOREPLACE), "NOREPLACE plain over %s", r->name);
		STEP(renameat2_(DIR_FD, "plain", r->fd, r->path, RENAME_EXCHANGE), "EXCHANGE plain with %s", r->name);
	}
	STEP(renameat2_(DIR_FD, "file", AT_FDCWD, "file", 0), "onto itself");
	STEP(renameat2_(DIR_FD, "file", AT_FDCWD, "hardlink", 0), "onto its other name");
	STEP(renameat2_(DIR_FD, "hardlink", AT_FDCWD, "file", 0), "its other name onto it");
	STEP(renameat2_(DIR_FD, "file", AT_FDCWD, "symlink", 0), "over a symlink to it");
	STEP(renameat2_(DIR_FD, "symlink", AT_FDCWD, "file", 0), "a symlink over it");
	STEP(renameat2_(DIR_FD, "symlink", AT_FDCWD, "new", 0), "a symlink to it");
	STEP(renameat2_(DIR_FD, "file", AT_FDCWD, "sub", 0), "over a directory");
	STEP(renameat2_(DIR_FD, "sub", AT_FDCWD, "file", 0), "a directory over it");
	STEP(renameat2_(DIR_FD, "sub", AT_FDCWD, "new", 0), "a directory");
	STEP(renameat2_(DIR_FD, "file", AT_FDCWD, "missing/new", 0), "into a missing directory");
	STEP(renameat2_(DIR_FD, "file", AT_FDCWD, "sub/new/", 0), "to a name with a slash");
	STEP(renameat2_(DIR_FD, "file", AT_FDCWD, "/proc/new", 0), "to another filesystem");
	STEP(renameat2_(DIR_FD, "plain", AT_FDCWD, "symlink", 0), "plain over a symlink to it");
	STEP(renameat2_(DIR_FD, "file", DIR_FD, "plain", RENAME_EXCHANGE), "EXCHANGE it with plain");
	STEP(renameat2_(DIR_FD, "file", DIR_FD, "hardlink", RENAME_EXCHANGE), "EXCHANGE it with its other name");
	STEP(renameat2_(DIR_FD, "file", DIR_FD, "file", RENAME_EXCHANGE), "EXCHANGE it with itself");
	STEP(renameat2_(DIR_FD, "symlink", DIR_FD, "file", RENAME_EXCHANGE), "EXCHANGE a symlink with it");
	STEP(renameat2_(DIR_FD, "file", DIR_FD, "missing", RENAME_EXCHANGE), "EXCHANGE it with what is missing");
	STEP(renameat2_(DIR_FD, "file", DIR_FD, "new", RENAME_NOREPLACE), "NOREPLACE");
	STEP(renameat2_(DIR_FD, "file", DIR_FD, "plain", RENAME_NOREPLACE), "NOREPLACE, there already");
	STEP(renameat2_(DIR_FD, "file", DIR_FD, "hardlink", RENAME_NOREPLACE), "NOREPLACE onto its other name");
	STEP(renameat2_(DIR_FD, "file", DIR_FD, "new", RENAME_EXCHANGE | RENAME_NOREPLACE), "EXCHANGE|NOREPLACE");
	STEP(renameat2_(DIR_FD, "file", DIR_FD, "new", 8), "bad flags");
	STEP(renameat2_(DIR_FD, "file", DIR_FD, "new", -1), "all flags");
	STEP(renameat2_(DIR_FD, "file", DIR_FD, "new", RENAME_WHITEOUT), "WHITEOUT");
	char moved[PATH_MAX];
	snprintf(moved, sizeof moved, "%s.moved", dir);
	STEP(renameat2_(-1, dir, -1, moved, 0), "the directory it is in");
	STEP(renameat2_(-1, moved, -1, dir, 0), "the directory it is in, back");
	return end();
}
