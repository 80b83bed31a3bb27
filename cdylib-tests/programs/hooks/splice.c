#include "common.h"

static int from, into; /* a pipe with four bytes in it */

static void fill(void)
{
	char bytes[64];
	if (raw(SYS_write, into, "WXYZ", 4) != 4)
		die("filling the pipe");
	while (raw(SYS_read, from, bytes, sizeof bytes) == sizeof bytes)
		continue;
	if (raw(SYS_write, into, "WXYZ", 4) != 4)
		die("filling the pipe");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*splice_)(int, off_t *, int, off_t *, size_t, unsigned) = symbol;
	int ends[2], other[2];
	off_t at;
	open_descriptors();
	if (pipe2(ends, O_NONBLOCK) || pipe2(other, O_NONBLOCK))
		die("pipe2");
	from = ends[0];
	into = ends[1];
	FOR_DESCRIPTORS(d) {
		fill();
		STEP(splice_(from, NULL, d->fd, NULL, 4, 0), "a pipe to %s", d->name);
		fill();
		STEP(splice_(from, NULL, d->fd, (at = 64, &at), 4, 0), "a pipe to %s at 64", d->name);
		fill();
		STEP(splice_(from, NULL, d->fd, (off_t *)8, 4, 0), "a pipe to %s, offset at a bad pointer", d->name);
		fill();
		STEP(splice_(from, NULL, d->fd, NULL, 4, 0x100), "a pipe to %s, unknown flag", d->name);
		fill();
		STEP(splice_(from, (at = 0, &at), d->fd, NULL, 4, 0), "a pipe with an offset to %s", d->name);
		STEP(splice_(FD(PLAIN), (at = 0, &at), d->fd, NULL, 4, 0), "plain to %s", d->name);
		STEP(splice_(d->fd, NULL, other[1], NULL, 4, 0), "%s to a pipe", d->name);
	}
	STEP(splice_(FD(RDONLY), (at = 64, &at), other[1], NULL, 4, SPLICE_F_MOVE), "O_RDONLY at 64 to a pipe");
	STEP(at, "where it got to");
	fill();
	STEP(IN_CHILD(splice_(from, NULL, FD(RDWR), NULL, 4, 0)), "a pipe to O_RDWR in a child");
	return end();
}
