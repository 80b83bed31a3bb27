#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*creat_)(const char *, mode_t) = symbol;
	FOR_ROUTES(r)
		STEP(closing(creat_(r->path, 0640)), "%s", r->name);
	STEP(closing(creat_("new", 07777)), "new, mode 7777");
	STEP(closing(creat_("new", 0)), "new, mode 0");
	int fd = creat_("new", 0600);
	STEP(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_CLOEXEC), "F_GETFL");
	STEP(write(fd, "WXYZ", 4), "write to what was created");
	return end();
}
