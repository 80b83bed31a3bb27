#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*fchmodat_)(int, const char *, mode_t, int) = symbol;
	FOR_ROUTES(r)
		STEP(fchmodat_(AT_FDCWD, r->path, 0600, 0), "AT_FDCWD %s to 600", r->name);
	FOR_AT_ROUTES(r) {
		STEP(fchmodat_(r->fd, r->path, 0600, 0), "%s to 600", r->name);
		STEP(fchmodat_(r->fd, r->path, 0644, 0), "%s to 644", r->name);
	}
	STEP(fchmodat_(DIR_FD, "file", 0600, AT_SYMLINK_NOFOLLOW), "NOFOLLOW");
	STEP(fchmodat_(DIR_FD, "symlink", 0600, AT_SYMLINK_NOFOLLOW), "NOFOLLOW symlink");
	STEP(fchmodat_(DIR_FD, "file", 0600, AT_EACCESS), "a flag it has not");
	STEP(fchmodat_(DIR_FD, "file", 0600, -1), "all flags");
	return end();
}
