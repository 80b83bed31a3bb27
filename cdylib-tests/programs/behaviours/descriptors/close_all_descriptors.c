/* Daemons close everything: the shim holds no descriptor that they could take from it. */
#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	open_descriptors();
	STEP(write(FD(RDWR), "WXYZ", 4), "before");
	for (int i = 3; i < 1024; i++)
		if (i < FILE_FD || i > SUB_FD)
			close(i);
	STEP(open("file", O_RDWR), "file at");
	STEP(write(3, "WXYZ", 4), "write to the file");
	STEP(ftruncate(3, 10), "ftruncate it");
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
	raw(SYS_close_range, 3, 99, 0);
	keep = true;
	STEP((p[0] = '!', msync(p, PAGE, MS_SYNC)), "msync with every descriptor closed");
	STEP(open("plain", O_RDWR), "plain at");
	STEP(write(3, "WXYZ", 4), "write to plain");
	STEP(truncate("file", 10), "truncate the file");
	STEP(closing(open("file", O_WRONLY | O_TRUNC)), "O_TRUNC");
	return end();
}
