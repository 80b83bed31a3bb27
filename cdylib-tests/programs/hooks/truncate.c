#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*truncate_)(const char *, off_t) = symbol;
	FOR_ROUTES(r) {
		STEP(truncate_(r->path, 10), "%s to 10", r->name);
		STEP(truncate_(r->path, FILE_SIZE), "%s to the present size", r->name);
		STEP(truncate_(r->path, -1), "%s to -1", r->name);
	}
	STEP(truncate_("file", 0), "to 0");
	STEP(truncate_("file", 2 * FILE_SIZE), "to twice the size");
	return end();
}
