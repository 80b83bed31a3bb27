#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*unlink_)(const char *) = symbol;
	FOR_ROUTES(r)
		STEP(unlink_(r->path), "%s", r->name);
	int fd = open("file", O_RDWR);
	STEP(unlink_("file"), "while open");
	STEP(closing(fd), "closing it");
	return end();
}
