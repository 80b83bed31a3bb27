#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*openat_2)(int, const char *, int) = symbol;
	FOR_ROUTES(r)
		STEP(closing(openat_2(AT_FDCWD, r->path, O_RDWR | O_TRUNC)), "AT_FDCWD O_RDWR|O_TRUNC %s", r->name);
	FOR_AT_ROUTES(r) {
		STEP(closing(openat_2(r->fd, r->path, O_RDWR)), "O_RDWR %s", r->name);
		STEP(closing(openat_2(r->fd, r->path, O_RDWR | O_TRUNC)), "O_RDWR|O_TRUNC %s", r->name);
	}
	STEP(closing(openat_2(DIR_FD, "file", O_RDONLY | O_TRUNC)), "O_RDONLY|O_TRUNC");
	STEP(closing(openat_2(DIR_FD, "file", O_PATH | O_TRUNC)), "O_PATH|O_TRUNC");
	fclose(stderr); /* glibc aborts and says so */
	STEP(IN_CHILD(openat_2(DIR_FD, "file", O_RDWR | O_CREAT | O_TRUNC)), "O_CREAT|O_TRUNC without a mode, in a child");
	return end();
}
