#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*fchownat_)(int, const char *, uid_t, gid_t, int) = symbol;
	FOR_ROUTES(r)
		STEP(fchownat_(AT_FDCWD, r->path, 1, 2, 0), "AT_FDCWD %s to 1:2", r->name);
	FOR_AT_ROUTES(r) {
		STEP(fchownat_(r->fd, r->path, 1, 2, 0), "%s to 1:2", r->name);
		STEP(fchownat_(r->fd, r->path, 0, 0, 0), "%s to 0:0", r->name);
		STEP(fchownat_(r->fd, r->path, 1, 2, AT_EMPTY_PATH), "EMPTY_PATH %s to 1:2", r->name);
		STEP(fchownat_(r->fd, r->path, 1, 2, AT_SYMLINK_NOFOLLOW), "NOFOLLOW %s to 1:2", r->name);
	}
	STEP(fchownat_(AT_FDCWD, "", 0, 0, AT_EMPTY_PATH), "EMPTY_PATH of the working directory");
	STEP(fchownat_(DIR_FD, "file", 1, 2, AT_SYMLINK_FOLLOW), "a flag it has not");
	STEP(fchownat_(DIR_FD, "file", 1, 2, -1), "all flags");
	return end();
}
