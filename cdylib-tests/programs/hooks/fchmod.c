#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*fchmod_)(int, mode_t) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(fchmod_(d->fd, 0600), "%s to 600", d->name);
		STEP(fchmod_(d->fd, d->fd == DIR_FD ? 0755 : 0644), "%s to what it was", d->name);
	}
	STEP(IN_CHILD(fchmod_(FD(RDWR), 0600)), "O_RDWR inherited by a child");
	return end();
}
