#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*rename_)(const char *, const char *) = symbol;
	FOR_ROUTES(r) {
		STEP(rename_(r->path, "new"), "%s to new", r->name);
		STEP(rename_("plain", r->path), "plain over %s", r->name);
	}
	STEP(rename_("file", NULL), "to NULL");
	STEP(rename_("file", ""), "to an empty name");
	STEP(rename_("file", "file"), "onto itself");
	STEP(rename_("file", "hardlink"), "onto its other name");
	STEP(rename_("hardlink", "file"), "its other name onto it");
	STEP(rename_("file", "symlink"), "over a symlink to it");
	STEP(rename_("symlink", "file"), "a symlink over it");
	STEP(rename_("symlink", "new"), "a symlink to it");
	STEP(rename_("file", "sub"), "over a directory");
	STEP(rename_("sub", "file"), "a directory over it");
	STEP(rename_("sub", "new"), "a directory");
	STEP(rename_("file", "missing/new"), "into a missing directory");
	STEP(rename_("file", "sub/new/"), "to a name with a slash");
	STEP(rename_("file", "/proc/new"), "to another filesystem");
	STEP(rename_("plain", "symlink"), "plain over a symlink to it");
	char moved[PATH_MAX];
	snprintf(moved, sizeof moved, "%s.moved", dir);
	STEP(rename_(dir, moved), "the directory it is in");
	STEP(rename_(moved, dir), "the directory it is in, back");
	return end();
}
