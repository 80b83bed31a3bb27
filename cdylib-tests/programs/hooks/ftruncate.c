#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*ftruncate_)(int, off_t) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(ftruncate_(d->fd, 10), "%s to 10", d->name);
		STEP(ftruncate_(d->fd, 2 * FILE_SIZE), "%s to twice the size", d->name);
		STEP(ftruncate_(d->fd, FILE_SIZE), "%s to the present size", d->name);
		STEP(ftruncate_(d->fd, -1), "%s to -1", d->name);
	}
	STEP(ftruncate_(FD(RDWR), 0), "to 0");
	STEP(IN_CHILD(ftruncate_(FD(RDWR), 10)), "O_RDWR inherited by a child");
	return end();
}
