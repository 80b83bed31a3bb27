#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*copy)(int, off_t *, int, off_t *, size_t, unsigned) = symbol;
	off_t from, to;
	open_descriptors();
	int appending = open("plain", O_WRONLY | O_APPEND), reading = open("plain", O_RDONLY);
	FOR_DESCRIPTORS(d) {
		STEP(copy(FD(PLAIN), (from = 0, &from), d->fd, (to = 64, &to), 4, 0), "plain to %s", d->name);
		STEP(copy(FD(PLAIN), (off_t *)8, d->fd, NULL, 4, 0), "plain, offset at a bad pointer, to %s", d->name);
		STEP(copy(FD(PLAIN), NULL, d->fd, (off_t *)8, 4, 0), "plain to %s, offset at a bad pointer", d->name);
		STEP(copy(FD(PLAIN), (from = -100, &from), d->fd, NULL, 4, 0), "plain, offset -100, to %s", d->name);
		STEP(copy(FD(PLAIN), (from = 0, &from), d->fd, NULL, 4, 1), "plain to %s, unknown flag", d->name);
		STEP(copy(d->fd, (from = 64, &from), FD(PLAIN), (to = 0, &to), 4, 0), "%s to plain", d->name);
		STEP(copy(d->fd, (off_t *)8, FD(PLAIN), NULL, 4, 0), "%s, offset at a bad pointer, to plain", d->name);
		STEP(copy(d->fd, NULL, FD(PLAIN), (off_t *)8, 4, 0), "%s to plain, offset at a bad pointer", d->name);
		STEP(copy(d->fd, (from = 0, &from), FD(PIPE), NULL, 4, 0), "%s to a pipe", d->name);
		STEP(copy(d->fd, (from = 0, &from), DIR_FD, NULL, 4, 0), "%s to a directory", d->name);
		STEP(copy(d->fd, (from = 0, &from), appending, NULL, 4, 0), "%s to plain with O_APPEND", d->name);
		STEP(copy(d->fd, (from = 0, &from), reading, NULL, 4, 0), "%s to plain with O_RDONLY", d->name);
		STEP(copy(d->fd, (from = 0, &from), CLOSED_FD, NULL, 4, 0), "%s to a closed one", d->name);
		STEP(copy(d->fd, (from = 0, &from), FD(PLAIN), NULL, 4, 1), "%s to plain, unknown flag", d->name);
	}
	STEP(copy(FD(RDONLY), (from = 0, &from), FD(RDWR), (to = 2 * PAGE, &to), 4, 0), "file to itself");
	STEP(copy(FD(RDONLY), (from = 64, &from), FD(PLAIN), (to = 0, &to), 4, 0), "file to plain, offsets");
	STEP(from, "where it got to in the file");
	STEP(to, "where it got to in plain");
	STEP(IN_CHILD(copy(FD(PLAIN), NULL, FD(RDWR), NULL, 4, 0)), "plain to O_RDWR in a child");
	return end();
}
