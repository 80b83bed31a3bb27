#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*unlinkat_)(int, const char *, int) = symbol;
	FOR_ROUTES(r)
		STEP(unlinkat_(AT_FDCWD, r->path, 0), "AT_FDCWD %s", r->name);
	FOR_AT_ROUTES(r) {
		STEP(unlinkat_(r->fd, r->path, 0), "%s", r->name);
		STEP(unlinkat_(r->fd, r->path, AT_REMOVEDIR), "REMOVEDIR %s", r->name);
	}
	STEP(unlinkat_(DIR_FD, "file", AT_SYMLINK_NOFOLLOW), "a flag it has not");
	STEP(unlinkat_(DIR_FD, "file", -1), "all flags");
	keep = true;
	STEP(mkdir("new", 0755), "mkdir new");
	STEP(unlinkat_(DIR_FD, "new", 0), "a directory");
	STEP(unlinkat_(DIR_FD, "new", AT_REMOVEDIR), "a directory, REMOVEDIR");
	return end();
}
