/* fclose and fopen reach the kernel from inside libc: a number known as untagged comes back tagged. */
#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*write_)(int, const void *, size_t) = symbol;
	int fd = open("plain", O_RDWR);
	STEP(write_(fd, "WXYZ", 4), "plain on %d", fd);
	FILE *stream = fdopen(fd, "r+");
	fclose(stream);
	stream = fopen("file", "r+");
	STEP(fileno(stream), "the file takes its number");
	STEP(write_(fileno(stream), "WXYZ", 4), "write to it");
	STEP(ftruncate(fileno(stream), 10), "ftruncate it");
	fclose(stream);
	stream = fopen("plain", "r+");
	STEP(fileno(stream), "plain takes its number");
	STEP(write_(fileno(stream), "WXYZ", 4), "write to plain");
	fclose(stream);
	fd = raw(SYS_openat, AT_FDCWD, "file", O_RDWR);
	STEP(fd, "the file takes its number, behind the hooks");
	STEP(write_(fd, "WXYZ", 4), "write to it, behind the hooks");
	close(fd);
	stream = fopen("plain", "r+");
	STEP(write_(fileno(stream), "WXYZ", 4), "write to plain again");
	DIR *directory = opendir("sub");
	closedir(directory);
	fclose(stream);
	return end();
}
