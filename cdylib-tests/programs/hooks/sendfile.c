#include "common.h"
#include <sys/sendfile.h>

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*sendfile_)(int, int, off_t *, size_t) = symbol;
	off_t at, negative = -1;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(sendfile_(d->fd, FD(PLAIN), (at = 0, &at), 4), "plain to %s", d->name);
		STEP(sendfile_(d->fd, FD(PLAIN), (off_t *)8, 4), "plain, offset at a bad pointer, to %s", d->name);
		STEP(sendfile_(d->fd, FD(PLAIN), &negative, 4), "plain, offset -1, to %s", d->name);
		STEP(sendfile_(d->fd, CLOSED_FD, NULL, 4), "a closed one to %s", d->name);
		STEP(sendfile_(FD(PIPE), d->fd, (at = 8, &at), 4), "%s to a pipe", d->name);
		STEP(sendfile_(FD(PLAIN), d->fd, NULL, 4), "%s to plain", d->name);
		lseek(FD(PLAIN), 0, SEEK_SET);
	}
	lseek(FD(RDWR), 0, SEEK_SET);
	STEP(sendfile_(FD(RDWR), FD(RDONLY), (at = 64, &at), 4), "file to itself");
	STEP(lseek(FD(RDWR), 0, SEEK_CUR), "position of the target");
	STEP(sendfile_(FD(PIPE), FD(RDONLY), (at = 8, &at), 4), "O_RDONLY at 8 to a pipe");
	STEP(at, "where it got to");
	STEP(sendfile_(FD(PIPE), FD(RDONLY), (at = FILE_SIZE, &at), 4), "behind the end");
	STEP(IN_CHILD(sendfile_(FD(RDWR), FD(PLAIN), (at = 0, &at), 4)), "plain to O_RDWR in a child");
	return end();
}
