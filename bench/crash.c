/* The program and the checker of scripts/bench.d/crash.
 *
 *     crash store FILE    400 times: stores to three lines anywhere in it, and syncs them
 *     crash check IMAGE   takes 10 ms
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	if (strcmp(argv[1], "check") == 0) {
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
		return access(argv[2], R_OK) != 0;
	}
	int fd = open(argv[2], O_RDWR);
	struct stat stat;
	if (fd < 0 || fstat(fd, &stat) != 0)
		return 1;
	char *p = mmap(NULL, stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return 1;
	for (int round = 0; round < 400; round++) {
		char *pages[3];
		for (int i = 0; i < 3; i++) {
			pages[i] = p + random() % (stat.st_size / PAGE) * PAGE;
			pages[i][random() % PAGE] += 1;
		}
		for (int i = 0; i < 3; i++)
			if (msync(pages[i], PAGE, MS_SYNC) != 0)
				return 1;
	}
	return 0;
}
