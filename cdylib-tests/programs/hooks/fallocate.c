#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*fallocate_)(int, int, off_t, off_t) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(fallocate_(d->fd, 0, 0, 2 * FILE_SIZE), "%s, twice the size", d->name);
		STEP(fallocate_(d->fd, 0, 0, PAGE), "%s, inside", d->name);
		STEP(fallocate_(d->fd, 0, 0, 0), "%s, length 0", d->name);
		STEP(fallocate_(d->fd, 0, -1, PAGE), "%s, offset -1", d->name);
		STEP(fallocate_(d->fd, 0x4000, 0, PAGE), "%s, unknown mode", d->name);
	}
	STEP(fallocate_(FD(RDWR), FALLOC_FL_KEEP_SIZE, 0, 2 * FILE_SIZE), "KEEP_SIZE, twice the size");
	STEP(fallocate_(FD(RDWR), FALLOC_FL_KEEP_SIZE, 0, PAGE), "KEEP_SIZE, inside");
	STEP(fallocate_(FD(RDWR), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), "PUNCH_HOLE");
	STEP(fallocate_(FD(RDWR), FALLOC_FL_PUNCH_HOLE, 0, PAGE), "PUNCH_HOLE without KEEP_SIZE");
	STEP(fallocate_(FD(RDWR), FALLOC_FL_COLLAPSE_RANGE, 0, PAGE), "COLLAPSE_RANGE");
	STEP(fallocate_(FD(RDWR), FALLOC_FL_INSERT_RANGE, 0, PAGE), "INSERT_RANGE");
	STEP(fallocate_(FD(RDWR), FALLOC_FL_ZERO_RANGE, 0, PAGE), "ZERO_RANGE");
	STEP(fallocate_(FD(RDWR), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, PAGE), "ZERO_RANGE|KEEP_SIZE");
	STEP(fallocate_(FD(RDWR), FALLOC_FL_UNSHARE_RANGE, 0, PAGE), "UNSHARE_RANGE");
	STEP(fallocate_(FD(RDWR), 0, LONG_MAX, LONG_MAX), "offset and length overflow");
	STEP(IN_CHILD(fallocate_(FD(RDWR), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE)), "PUNCH_HOLE in a child");
	return end();
}
