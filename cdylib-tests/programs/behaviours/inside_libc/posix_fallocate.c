/* posix_fallocate returns its error, and must not fall back to writing zeroes. */
#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*posix_fallocate_)(int, off_t, off_t) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(posix_fallocate_(d->fd, 0, 2 * FILE_SIZE), "twice the size, %s", d->name);
		STEP(posix_fallocate_(d->fd, 0, PAGE), "inside, %s", d->name);
		STEP(posix_fallocate_(d->fd, 0, 0), "length 0, %s", d->name);
		STEP(posix_fallocate_(d->fd, -1, PAGE), "offset -1, %s", d->name);
	}
	return end();
}
