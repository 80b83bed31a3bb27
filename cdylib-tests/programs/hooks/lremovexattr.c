#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*lremovexattr_)(const char *, const char *) = symbol;
	static char long_name[300] = "user.";
	memset(long_name + 5, 'x', sizeof long_name - 6);
	FOR_ROUTES(r) {
		STEP(lremovexattr_(r->path, "user.present"), "%s", r->name);
		STEP(lremovexattr_(r->path, "trusted.test"), "one that is not there, %s", r->name);
	}
	STEP(lremovexattr_("file", NULL), "name NULL");
	STEP(lremovexattr_("file", (char *)8), "name at a bad pointer");
	STEP(lremovexattr_("file", ""), "name empty");
	STEP(lremovexattr_("file", long_name), "name too long");
	STEP(lremovexattr_("file", "nonsense"), "no such namespace");
	return end();
}
