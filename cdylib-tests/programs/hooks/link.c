#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*link_)(const char *, const char *) = symbol;
	FOR_ROUTES(r)
		STEP(link_(r->path, "new"), "%s", r->name);
	FOR_ROUTES(r)
		STEP(link_("plain", r->path), "plain to %s", r->name);
	STEP(link_("file", "plain"), "to a name that exists");
	STEP(link_("file", "hardlink"), "to another name of itself");
	STEP(link_("file", "missing/new"), "to a missing directory");
	STEP(link_("file", "new/"), "to a name with a slash");
	STEP(link_("file", "/dev/daxshim-new"), "to another filesystem");
	STEP(link_("file", NULL), "to NULL");
	STEP(link_("file", ""), "to an empty name");
	return end();
}
