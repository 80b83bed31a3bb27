/* Stores the value that is there already, and syncs: as a second run on the same file does. */
#include "../check/check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	*(volatile char *)&p[PAGE] = wrong ? p[PAGE] : p[PAGE] ^ 1;
	must(fsync(opened("file")) == 0, "fsync");
	return 0;
}
