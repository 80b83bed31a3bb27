/* A function looked up in libc itself is past the symbols of the library, yet not past it. */
#include "common.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <termios.h>

int main(int argc, char **argv)
{
	begin(argc, argv);
	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	if (!libc)
		die("libc.so.6");
	ssize_t (*write_)(int, const void *, size_t) = dlsym(libc, "write");
	ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
	int (*open_)(const char *, int, ...) = dlsym(libc, "open");
	int (*ftruncate_)(int, off_t) = dlsym(libc, "ftruncate");
	int (*unlink_)(const char *) = dlsym(libc, "unlink");
	int (*rename_)(const char *, const char *) = dlsym(libc, "rename");
	int (*chmod_)(const char *, mode_t) = dlsym(libc, "chmod");
	int (*close_)(int) = dlsym(libc, "close");
	int (*ioctl_)(int, unsigned long, ...) = dlsym(libc, "ioctl");
	struct termios terminal;
	int number, ends[2];
	int file = open_("file", O_RDWR), plain = open_("plain", O_RDWR);
	STEP(write_(file, "WXYZ", 4), "write");
	STEP(next(file, "WXYZ", 4), "RTLD_NEXT's write");
	STEP(write_(plain, "WXYZ", 4), "write to plain");
	STEP(ftruncate_(file, 10), "ftruncate");
	STEP(closing(open_("file", O_RDWR | O_TRUNC)), "open with O_TRUNC");
	STEP(unlink_("file"), "unlink");
	STEP(rename_("file", "new"), "rename");
	STEP(chmod_("file", 0600), "chmod");
	STEP(ioctl_(file, FICLONE, plain), "FICLONE into it");
	STEP(ioctl_(plain, FICLONE, file), "FICLONE from it");
	STEP(ioctl_(plain, FICLONE, plain), "FICLONE of plain");
	STEP(ioctl_(file, TCGETS, &terminal), "TCGETS");
	if (pipe(ends) || raw(SYS_write, ends[1], "abc", 3) != 3)
		die("pipe");
	STEP(ioctl_(ends[0], FIONREAD, &number), "FIONREAD");
	STEP(number, "its number");
	STEP(isatty(file), "isatty");
	STEP(close_(plain), "close plain");
	STEP(open_("file", O_RDWR) == plain, "the file takes its number");
	STEP(write_(plain, "WXYZ", 4), "write to it");
	return end();
}
