#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*dup2_)(int, int) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(dup2_(d->fd, 50), "%s to 50", d->name);
		STEP(dup2_(d->fd, d->fd), "%s to itself", d->name);
		STEP(dup2_(d->fd, -1), "%s to -1", d->name);
		STEP(write(50, "WXYZ", 4), "write to 50 after dup2 of %s", d->name);
	}
	STEP(dup2_(FD(RDWR), 51), "file to 51");
	STEP(write(51, "WXYZ", 4), "write to 51, file");
	STEP(dup2_(FD(PLAIN), 51), "plain over 51");
	STEP(write(51, "WXYZ", 4), "write to 51, plain");
	STEP(dup2_(FD(RAW), 51), "file, opened behind the hooks, over 51");
	STEP(ftruncate(51, 10), "ftruncate 51, file behind the hooks");
	STEP(dup2_(CLOSED_FD, 51), "a closed one over 51");
	STEP(ftruncate(51, 10), "ftruncate 51 after the dup2 that failed");
	STEP(dup2_(FD(RDWR), INT_MAX), "to INT_MAX");
	return end();
}
