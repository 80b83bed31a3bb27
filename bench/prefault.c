/* What prefaulting (DAXSHIM_PREFAULT) buys: mapping a file, then the first store to each page with an
 * msync of the page, then as many again. Nanoseconds, which under the counting clock of
 * scripts/vm --icount are instructions, and page faults. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

enum { PAGE = 4096 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static long faults(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static void row(const char *what, double instructions, long faults)
{
	printf("| %s | %.0f | %ld |\n", what, instructions, faults);
}

static void pass(const char *what, char *map, size_t size)
{
	long before = faults();
	double start = now();
	for (char *at = map; at < map + size; at += PAGE) {
		*(volatile char *)at = 1;
		if (msync(at, PAGE, MS_SYNC)) {
			perror("msync");
			exit(1);
		}
	}
	row(what, (now() - start) / (size / PAGE), faults() - before);
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
	struct stat st;
	if (fd < 0 || fstat(fd, &st)) {
		fprintf(stderr, "usage: %s FILE\n", argv[0]);
		return 2;
	}
	/* The clock's and the stream's own first use. */
	puts("| | instructions a page | page faults |\n|---|---|---|");
	fflush(stdout);
	long before = faults();
	double start = now();
	char *map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	row("mmap", (now() - start) / (st.st_size / PAGE), faults() - before);
	pass("first store to each page, and msync of it", map, st.st_size);
	pass("the same again", map, st.st_size);
	return 0;
}
