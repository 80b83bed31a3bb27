#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*fremovexattr_)(int, const char *) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(fremovexattr_(d->fd, "user.present"), "%s", d->name);
		STEP(fremovexattr_(d->fd, "trusted.test"), "one that is not there, %s", d->name);
	}
	STEP(fremovexattr_(FD(RDWR), NULL), "name NULL");
	STEP(fremovexattr_(FD(RDWR), ""), "name empty");
	STEP(IN_CHILD(fremovexattr_(FD(RDWR), "user.present")), "O_RDWR inherited by a child");
	return end();
}
