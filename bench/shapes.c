/* shapes FILE: instructions of a store and an msync of the whole range, for ranges that are several mappings or reach
 * beyond one. The program is started twice, without the shim and with it; one line a shape: its name and the mean of
 * so many calls, once the first have shown what there is to learn. */
#define _GNU_SOURCE
#include "blocks.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RW (PROT_READ | PROT_WRITE)
#define PAGE 4096L

enum { LENGTH = 8 << 20, CALLS = 400, FIRST = 200 };

static char *map(int fd, long pieces, size_t length)
{
	char *p = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	for (long i = 0; i < pieces; i++) {
		long at = (long)length / pieces * i;
		if (mmap(p + at, length / pieces, RW, MAP_SHARED | MAP_FIXED, fd, at) != p + at)
			return NULL;
	}
	return p;
}

static void measure(const char *name, char *p, size_t synced, size_t stored)
{
	double took = 0;
	for (long i = 0; i < FIRST + CALLS; i++) {
		double before = now();
		p[i * PAGE % (long)stored]++;
		if (msync(p, synced, MS_SYNC))
			perror(name);
		if (i >= FIRST)
			took += now() - before;
	}
	printf("%-34s %8.0f\n", name, took / CALLS);
}

/* Over the last page of the range. */
static void *over(char *p, int protection, int flags)
{
	return mmap(p + LENGTH - PAGE, PAGE, protection, flags | MAP_FIXED, -1, 0);
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	if (fd < 0 || lseek(fd, 0, SEEK_END) != LENGTH) {
		fprintf(stderr, "shapes: give it a file of 8 MiB\n");
		return 1;
	}
	static const struct {
		const char *name;
		int pieces;
	} pieces[] = {{"one mapping", 1}, {"2 adjacent mappings", 2}, {"16 adjacent mappings", 16}};
	for (int i = 0; i < 3; i++) {
		char *p = map(fd, pieces[i].pieces, LENGTH);
		measure(pieces[i].name, p, LENGTH, LENGTH);
		munmap(p, LENGTH);
	}
	char *p = map(fd, 16, LENGTH);
	madvise(p + LENGTH / 2, LENGTH / 16, MADV_DONTFORK);
	measure("16, one of them MADV_DONTFORK", p, LENGTH, LENGTH);
	munmap(p, LENGTH);

	p = map(fd, 1, LENGTH);
	mprotect(p + LENGTH - PAGE, PAGE, PROT_READ);
	measure("last page PROT_READ", p, LENGTH, LENGTH - PAGE);
	mprotect(p + LENGTH - PAGE, PAGE, PROT_NONE);
	measure("last page PROT_NONE", p, LENGTH, LENGTH - PAGE);
	over(p, RW, MAP_PRIVATE | MAP_ANONYMOUS);
	measure("last page anonymous", p, LENGTH, LENGTH - PAGE);
	munmap(p, LENGTH);

	p = map(fd, 1, 2 * LENGTH);
	measure("twice as long as the file", p, 2 * LENGTH, LENGTH);
	munmap(p, 2 * LENGTH);

	p = map(fd, 1, LENGTH);
	mprotect(p + PAGE, PAGE, PROT_NONE);
	measure("2 pages, one of them PROT_NONE", p, 2 * PAGE, PAGE);
	munmap(p, LENGTH);
	p = map(fd, LENGTH / PAGE, LENGTH);
	measure("2 pages of mappings of one page", p, 2 * PAGE, 2 * PAGE);
	return 0;
}
