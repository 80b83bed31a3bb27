/* A number that changed hands between a tagged file and another must never keep the old answer. */
#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*write_)(int, const void *, size_t) = symbol;
	for (int i = 0; i < 8; i++) {
		int fd = open("file", O_RDWR);
		STEP(write_(fd, "WXYZ", 4), "file on %d, turn %d", fd, i);
		switch (i % 4) { /* four ways for the number to change hands */
		case 0: close(fd); fd = open("plain", O_RDWR); break;
		case 1: raw(SYS_close, fd); fd = open("plain", O_RDWR); break;
		case 2: dup2(open("plain", O_RDWR), fd); break;
		case 3: raw(SYS_close_range, 3, 99, 0); fd = raw(SYS_openat, AT_FDCWD, "plain", O_RDWR, 0); break;
		}
		STEP(write_(fd, "WXYZ", 4), "plain on %d, turn %d", fd, i);
		STEP(ftruncate(fd, 10), "ftruncate plain on %d, turn %d", fd, i);
		close(fd);
		fd = raw(SYS_openat, AT_FDCWD, "file", O_RDWR, 0);
		STEP(write_(fd, "WXYZ", 4), "file, behind the hooks, on %d, turn %d", fd, i);
		close(fd);
	}
	return end();
}
