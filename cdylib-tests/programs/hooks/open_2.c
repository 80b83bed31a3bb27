#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*open_2)(const char *, int) = symbol;
	FOR_ROUTES(r) {
		STEP(closing(open_2(r->path, O_RDWR)), "O_RDWR %s", r->name);
		STEP(closing(open_2(r->path, O_RDWR | O_TRUNC)), "O_RDWR|O_TRUNC %s", r->name);
	}
	STEP(closing(open_2("file", O_RDONLY | O_TRUNC)), "O_RDONLY|O_TRUNC");
	STEP(closing(open_2("file", O_PATH | O_TRUNC)), "O_PATH|O_TRUNC");
	STEP(closing(open_2("symlink", O_RDWR | O_NOFOLLOW | O_TRUNC)), "O_NOFOLLOW|O_TRUNC symlink");
	fclose(stderr); /* glibc aborts and says so */
	STEP(IN_CHILD(open_2("file", O_RDWR | O_CREAT)), "O_CREAT without a mode, in a child");
	STEP(IN_CHILD(open_2("file", O_RDWR | O_CREAT | O_TRUNC)), "O_CREAT|O_TRUNC without a mode, in a child");
	STEP(IN_CHILD(open_2("sub", O_RDWR | O_TMPFILE)), "O_TMPFILE without a mode, in a child");
	return end();
}
