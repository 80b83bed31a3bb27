#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*removexattr_)(const char *, const char *) = symbol;
	static char long_name[300] = "user.";
	memset(long_name + 5, 'x', sizeof long_name - 6);
	FOR_ROUTES(r) {
		STEP(removexattr_(r->path, "user.present"), "%s", r->name);
		STEP(removexattr_(r->path, "trusted.test"), "one that is not there, %s", r->name);
	}
	STEP(removexattr_("file", NULL), "name NULL");
	STEP(removexattr_("file", (char *)8), "name at a bad pointer");
	STEP(removexattr_("file", ""), "name empty");
	STEP(removexattr_("file", long_name), "name too long");
	STEP(removexattr_("file", "nonsense"), "no such namespace");
	return end();
}
