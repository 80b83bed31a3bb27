#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*pidfd_getfd_)(int, int, unsigned) = symbol;
	int self = raw(SYS_pidfd_open, getpid(), 0), file = open("file", O_RDWR), known = open("plain", O_RDWR);
	if (self < 0)
		die("pidfd_open");
	STEP(write(known, "WXYZ", 4), "plain");
	raw(SYS_close, known);
	STEP(pidfd_getfd_(self, file, 0) == known, "the file under a number that was plain");
	STEP(write(known, "WXYZ", 4), "write to it");
	STEP(ftruncate(known, 10), "ftruncate it");
	STEP(fcntl(known, F_GETFD), "F_GETFD");
	STEP(pidfd_getfd_(self, CLOSED_FD, 0), "a closed one");
	STEP(pidfd_getfd_(file, file, 0), "not a pidfd");
	STEP(pidfd_getfd_(CLOSED_FD, file, 0), "a closed pidfd");
	STEP(pidfd_getfd_(self, file, 1), "a flag it has not");
	return end();
}
