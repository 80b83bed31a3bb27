#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*remove_)(const char *) = symbol;
	FOR_ROUTES(r)
		STEP(remove_(r->path), "%s", r->name);
	keep = true;
	STEP(mkdir("new", 0755), "mkdir new");
	STEP(remove_("new"), "an empty directory");
	return end();
}
