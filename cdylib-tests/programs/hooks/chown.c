#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*chown_)(const char *, uid_t, gid_t) = symbol;
	FOR_ROUTES(r) {
		STEP(chown_(r->path, 1, 2), "%s to 1:2", r->name);
		STEP(chown_(r->path, 0, 0), "%s to 0:0", r->name);
	}
	STEP(chown_("file", -1, 2), "to -1:2");
	STEP(chown_("file", 1, -1), "to 1:-1");
	STEP(chown_("file", -1, -1), "to -1:-1");
	return end();
}
