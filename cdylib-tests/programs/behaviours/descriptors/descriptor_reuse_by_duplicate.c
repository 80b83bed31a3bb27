/* A number known as untagged, closed unseen, comes back as a duplicate of the tagged file's. */
#include "common.h"

static int duplicated(int way, int from, int to)
{
	switch (way) {
	case 0: return dup(from);
	case 1: return dup2(from, to);
	case 2: return dup3(from, to, O_CLOEXEC);
	case 3: return fcntl(from, F_DUPFD, to);
	default: return fcntl(from, F_DUPFD_CLOEXEC, to);
	}
}

int main(int argc, char **argv)
{
	static const char *const ways[] = {"dup", "dup2", "dup3", "F_DUPFD", "F_DUPFD_CLOEXEC"};
	begin(argc, argv);
	ssize_t (*write_)(int, const void *, size_t) = symbol;
	int file = open("file", O_RDWR);
	for (int way = 0; way < 5; way++) {
		int fd = open("plain", O_RDWR);
		STEP(write_(fd, "WXYZ", 4), "%s: plain", ways[way]);
		raw(SYS_close, fd);
		STEP(duplicated(way, file, fd) == fd, "%s: the file takes its number", ways[way]);
		STEP(write_(fd, "WXYZ", 4), "%s: write to it", ways[way]);
		STEP(ftruncate(fd, 10), "%s: ftruncate it", ways[way]);
		close(fd);
	}
	return end();
}
