#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*lchmod_)(const char *, mode_t) = symbol;
	FOR_ROUTES(r) {
		STEP(lchmod_(r->path, 0600), "%s to 600", r->name);
		STEP(lchmod_(r->path, 0644), "%s to 644", r->name);
	}
	STEP(lchmod_("file", 0), "to 0");
	STEP(lchmod_("file", 04755), "to 4755");
	STEP(lchmod_("file", 0100644), "to 644 with the type in it");
	STEP(lchmod_("file", -1), "to -1");
	return end();
}
