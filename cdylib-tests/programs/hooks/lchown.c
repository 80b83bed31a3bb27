#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*lchown_)(const char *, uid_t, gid_t) = symbol;
	FOR_ROUTES(r) {
		STEP(lchown_(r->path, 1, 2), "%s to 1:2", r->name);
		STEP(lchown_(r->path, 0, 0), "%s to 0:0", r->name);
	}
	STEP(lchown_("file", -1, 2), "to -1:2");
	STEP(lchown_("file", 1, -1), "to 1:-1");
	STEP(lchown_("file", -1, -1), "to -1:-1");
	return end();
}
