#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*close_)(int) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		if (d->fd == DIR_FD)
			continue;
		STEP(close_(d->fd), "%s", d->name);
		STEP(close_(d->fd), "%s again", d->name);
		STEP(write(d->fd, "WXYZ", 4), "write to %s", d->name);
	}
	int fd = open("file", O_RDWR);
	STEP(fd, "file at");
	STEP(write(fd, "WXYZ", 4), "write to the file");
	STEP(close_(fd), "close it");
	STEP(fd = open("plain", O_RDWR), "plain at");
	STEP(write(fd, "WXYZ", 4), "write to plain at its number");
	STEP(close_(fd), "close it");
	STEP(fd = open("file", O_RDWR), "file at");
	STEP(ftruncate(fd, 10), "ftruncate it");
	STEP(close_(fd), "close it");
	STEP(close_(1 << 20), "one beyond any table");
	return end();
}
