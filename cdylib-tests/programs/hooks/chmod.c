#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*chmod_)(const char *, mode_t) = symbol;
	FOR_ROUTES(r) {
		STEP(chmod_(r->path, 0600), "%s to 600", r->name);
		STEP(chmod_(r->path, 0644), "%s to 644", r->name);
	}
	STEP(chmod_("file", 0), "to 0");
	STEP(chmod_("file", 04755), "to 4755");
	STEP(chmod_("file", 0100644), "to 644 with the type in it");
	STEP(chmod_("file", -1), "to -1");
	return end();
}
