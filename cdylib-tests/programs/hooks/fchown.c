#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*fchown_)(int, uid_t, gid_t) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(fchown_(d->fd, 1, 2), "%s to 1:2", d->name);
		STEP(fchown_(d->fd, 0, 0), "%s to 0:0", d->name);
	}
	STEP(fchown_(FD(RDWR), -1, -1), "to -1:-1");
	STEP(IN_CHILD(fchown_(FD(RDWR), 1, 2)), "O_RDWR inherited by a child");
	return end();
}
