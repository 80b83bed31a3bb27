/* How many page faults the stores take to each page of a new mapping, and again after msync. */
#include "common.h"
#include <sys/resource.h>

static long faults(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static void stores(const char *name, const char *what, int protection, int flags, long pages, long stored)
{
	int fd = open(name, O_RDWR);
	volatile char *p = mmap(NULL, pages * PAGE, protection, flags, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	long counts[2];
	for (int pass = 0; pass < 2; pass++) {
		long before = faults();
		for (long page = 0; page < stored; page++)
			if (protection & PROT_WRITE)
				p[page * PAGE] = '!';
			else
				(void)p[page * PAGE];
		counts[pass] = faults() - before;
		if (msync((void *)p, PAGE, MS_SYNC))
			die("msync");
	}
	printf("%s: %ld, after msync %ld\n", what, counts[0], counts[1]);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	faults();
	stores("file", "file", PROT_READ | PROT_WRITE, MAP_SHARED, 4, 4);
	stores("file", "write only", PROT_WRITE, MAP_SHARED, 4, 4);
	stores("tail", "beyond the end of the file", PROT_READ | PROT_WRITE, MAP_SHARED, 8, 2);
	stores("file", "private", PROT_READ | PROT_WRITE, MAP_PRIVATE, 4, 4);
	stores("plain", "plain", PROT_READ | PROT_WRITE, MAP_SHARED, 1, 1);
	return 0;
}
