#include "common.h"

static const struct {
	const char *name;
	int flags;
} cases[] = {
	{"O_WRONLY|O_TRUNC", O_WRONLY | O_TRUNC},
	{"O_RDONLY|O_TRUNC", O_RDONLY | O_TRUNC},
	{"3|O_TRUNC", 3 | O_TRUNC},
	{"3", 3},
	{"O_WRONLY|O_APPEND", O_WRONLY | O_APPEND},
	{"O_WRONLY|O_APPEND|O_TRUNC", O_WRONLY | O_APPEND | O_TRUNC},
	{"O_PATH|O_TRUNC", O_PATH | O_TRUNC},
	{"O_DIRECTORY|O_TRUNC", O_DIRECTORY | O_TRUNC},
	{"O_NOFOLLOW|O_TRUNC", O_NOFOLLOW | O_RDWR | O_TRUNC},
	{"O_DIRECT|O_RDONLY", O_DIRECT | O_RDONLY},
	{"O_NOATIME|O_RDONLY", O_NOATIME | O_RDONLY},
	{"O_SYNC|O_RDWR", O_SYNC | O_RDWR},
	{"O_DSYNC|O_RDWR|O_TRUNC", O_DSYNC | O_RDWR | O_TRUNC},
	{"O_NONBLOCK|O_RDWR|O_TRUNC", O_NONBLOCK | O_RDWR | O_TRUNC},
	{"O_CLOEXEC|O_RDWR|O_TRUNC", O_CLOEXEC | O_RDWR | O_TRUNC},
	{"all bits", -1},
};

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*openat_)(int, const char *, int, ...) = symbol;
	FOR_ROUTES(r)
		STEP(closing(openat_(AT_FDCWD, r->path, O_RDWR | O_TRUNC)), "AT_FDCWD O_RDWR|O_TRUNC %s", r->name);
	FOR_AT_ROUTES(r) {
		STEP(closing(openat_(r->fd, r->path, O_RDONLY)), "O_RDONLY %s", r->name);
		STEP(closing(openat_(r->fd, r->path, O_RDWR)), "O_RDWR %s", r->name);
		STEP(closing(openat_(r->fd, r->path, O_RDWR | O_TRUNC)), "O_RDWR|O_TRUNC %s", r->name);
		STEP(closing(openat_(r->fd, r->path, O_WRONLY | O_CREAT | O_EXCL | O_TRUNC, 0600)), "O_CREAT|O_EXCL|O_TRUNC %s", r->name);
	}
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		STEP(closing(openat_(DIR_FD, "file", cases[i].flags, 0600)), "%s", cases[i].name);
		STEP(closing(openat_(SUB_FD, "inner", cases[i].flags, 0600)), "%s symlink", cases[i].name);
	}
	STEP(closing(openat_(DIR_FD, "file", O_RDWR | O_CREAT, 0600)), "O_CREAT, there already");
	STEP(closing(openat_(DIR_FD, "file", O_RDWR | O_CREAT | O_EXCL, 0600)), "O_CREAT|O_EXCL, there already");
	STEP(closing(openat_(DIR_FD, "file", O_RDWR | O_CREAT | O_EXCL | O_TRUNC, 0600)), "O_CREAT|O_EXCL|O_TRUNC, there already");
	STEP(closing(openat_(DIR_FD, "symlink", O_RDWR | O_CREAT | O_EXCL | O_TRUNC, 0600)), "O_CREAT|O_EXCL|O_TRUNC, symlink");
	STEP(closing(openat_(DIR_FD, "file", O_WRONLY | O_CREAT | O_TRUNC, 0600)), "O_CREAT|O_TRUNC, there already");
	STEP(closing(openat_(DIR_FD, "symlink", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600)), "O_CREAT|O_TRUNC|O_NOFOLLOW, symlink");
	STEP(closing(openat_(DIR_FD, "new", O_WRONLY | O_CREAT | O_EXCL, 0640)), "O_CREAT|O_EXCL, new, mode 640");
	STEP(closing(openat_(DIR_FD, "new", O_WRONLY | O_CREAT | O_TRUNC, 07777)), "O_CREAT|O_TRUNC, new, mode 7777");
	STEP(closing(openat_(DIR_FD, "new", O_WRONLY | O_CREAT, 0)), "O_CREAT, new, mode 0");
	STEP(closing(openat_(DIR_FD, "dangling", O_WRONLY | O_CREAT | O_TRUNC, 0600)), "O_CREAT|O_TRUNC, dangling symlink");
	STEP(closing(openat_(DIR_FD, "sub", O_WRONLY | O_TMPFILE, 0600)), "O_TMPFILE");
	STEP(closing(openat_(DIR_FD, "sub", O_RDONLY | O_CREAT, 0600)), "O_CREAT, a directory");
	STEP(closing(openat_(DIR_FD, "file/", O_WRONLY | O_CREAT | O_TRUNC, 0600)), "O_CREAT|O_TRUNC, trailing slash");
	int kept = openat_(DIR_FD, "file", O_RDWR), shut = openat_(DIR_FD, "file", O_RDWR | O_CLOEXEC);
	STEP(fcntl(kept, F_GETFD), "F_GETFD without O_CLOEXEC");
	STEP(fcntl(shut, F_GETFD), "F_GETFD with O_CLOEXEC");
	STEP(fcntl(kept, F_GETFL) & (O_ACCMODE | O_APPEND | O_TRUNC), "F_GETFL");
	STEP(write(kept, "WXYZ", 4), "write to what was opened");
	STEP(ftruncate(shut, 10), "ftruncate what was opened");
	return end();
}
