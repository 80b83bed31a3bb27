#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*fsetxattr_)(int, const char *, const void *, size_t, int) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(fsetxattr_(d->fd, "user.test", "v", 1, 0), "user. %s", d->name);
		STEP(fsetxattr_(d->fd, "trusted.test", "v", 1, 0), "trusted. %s", d->name);
		if (d->fd == DIR_FD || d->fd == FD(PIPE)) /* nobody watches these: they go */
			fremovexattr(d->fd, "user.test"), fremovexattr(d->fd, "trusted.test");
	}
	STEP(fsetxattr_(FD(RDWR), "user.present", "yes", 3, 0), "the value it has");
	STEP(fsetxattr_(FD(RDWR), "user.present", "no", 2, XATTR_CREATE), "XATTR_CREATE of one that exists");
	STEP(fsetxattr_(FD(RDWR), "user.test", "no", 2, XATTR_REPLACE), "XATTR_REPLACE of none");
	STEP(fsetxattr_(FD(RDWR), "user.test", (void *)8, 1, 0), "value at a bad pointer");
	STEP(fsetxattr_(FD(RDWR), NULL, "v", 1, 0), "name NULL");
	STEP(fsetxattr_(FD(RDWR), "", "v", 1, 0), "name empty");
	STEP(fsetxattr_(FD(RDWR), "user.test", "v", 1, 4), "bad flags");
	STEP(IN_CHILD(fsetxattr_(FD(RDWR), "user.test", "v", 1, 0)), "O_RDWR inherited by a child");
	return end();
}
