/* Stores a line of text in a file through a mapping, makes it durable, and says what it learned
 * about the mapping on the way. Runs with the shim and without:
 *
 *   cc -I include -o ask examples/ask.c
 *   ./ask FILE                                         the safe answers
 *   LD_PRELOAD=target/release/libdaxshim.so ./ask FILE  what is really so
 *
 * FILE must be there and have at least one byte. */
#include "daxshim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "ask: %s: %s\n", what, strerror(errno));
	return 1;
}

static const char *yes(int is_so)
{
	return is_so ? "yes" : "no";
}

static const char *page_size(unsigned char page)
{
	if (page & DAXSHIM_MINCORE_PUD)
		return "1 GiB";
	if (page & DAXSHIM_MINCORE_PMD)
		return "2 MiB";
	if (page & DAXSHIM_MINCORE_PTE)
		return "4 KiB";
	return "not told";
}

int main(int argc, char **argv)
{
	static const char text[] = "durable";
	struct stat status;
	unsigned char page;
	size_t length;
	char *map;
	int fd;

	if (argc != 2) {
		fprintf(stderr, "Usage: ask FILE\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR);
	if (fd < 0 || fstat(fd, &status))
		return fail(argv[1]);
	map = (char *)mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return fail("mmap");
	close(fd);

	length = (size_t)status.st_size < sizeof text ? (size_t)status.st_size : sizeof text;
	memcpy(map, text, length);
	/* Only these bytes, not their page: on a sync mapping that is one line and a fence. */
	if (daxshim_persist(map, length))
		return fail("daxshim_persist");
	if (daxshim_mincore(map, 1, &page))
		return fail("daxshim_mincore");

	printf("MAP_SYNC: %s\n", yes(daxshim_is_sync(map, (size_t)status.st_size)));
	printf("needs msync: %s\n", yes(daxshim_needs_msync(map, (size_t)status.st_size)));
	printf("first page: resident %s, DAX %s, MAP_SYNC %s, size %s\n", yes(page & DAXSHIM_MINCORE_RESIDENT),
	       yes(page & DAXSHIM_MINCORE_DAX), yes(page & DAXSHIM_MINCORE_SYNC), page_size(page));
	return munmap(map, (size_t)status.st_size) ? fail("munmap") : 0;
}
