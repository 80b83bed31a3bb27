/* posix_madvise hands any advice on to the kernel, MADV_REMOVE too. */
#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*call)(void *, size_t, int) = symbol;
	int fd = open("file", O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	STEP(call(p, PAGE, POSIX_MADV_RANDOM), "POSIX_MADV_RANDOM");
	STEP(call(p + PAGE, PAGE, MADV_REMOVE), "MADV_REMOVE");
	STEP(call(p + 1, PAGE, MADV_REMOVE), "MADV_REMOVE, unaligned");
	return end();
}
