#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*read_)(int, void *, size_t) = symbol;
	char bytes[8];
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(read_(d->fd, bytes, 4), "4 bytes from %s", d->name);
		STEP(read_(d->fd, NULL, 4), "4 bytes to NULL from %s", d->name);
	}
	STEP(read_(FD(RDWR), (void *)8, 4), "to a bad pointer");
	STEP(IN_CHILD(read_(FD(RDWR), bytes, 4)), "O_RDWR inherited by a child");
	return end();
}
