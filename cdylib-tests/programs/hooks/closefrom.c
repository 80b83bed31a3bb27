#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	void (*closefrom_)(int) = symbol;
	int first = open("plain", O_RDWR), second = open("plain", O_RDWR), third = open("file", O_RDWR);
	STEP(write(second, "WXYZ", 4), "plain");
	STEP(write(third, "WXYZ", 4), "file");
	STEP((closefrom_(second), 0), "closefrom the second");
	STEP(write(first, "WXYZ", 4), "the first stays");
	STEP(fcntl(second, F_GETFD), "the second");
	STEP(fcntl(third, F_GETFD), "the third");
	STEP(raw(SYS_openat, AT_FDCWD, "file", O_RDWR) == second, "the file takes its number, behind the hooks");
	STEP(write(second, "WXYZ", 4), "write to it");
	STEP(ftruncate(second, 10), "ftruncate it");
	STEP(open("plain", O_RDWR) == third, "plain takes the third");
	STEP(write(third, "WXYZ", 4), "write to plain");
	return end();
}
