/* What it costs to store and make durable, natively: msync and daxshim_persist through the shim,
 * libpmem's pmem_persist, and what the machine can do at all: clwb of each line and sfence.
 *
 * Run on a tagged file, with the shim preloaded and DAXSHIM_FLUSH=user: on tmpfs the kernel's msync
 * does nothing, and `auto` would find that out. One operation is a store to each line of a range and
 * one call that makes it durable; operations of a block go to consecutive ranges, one per page where
 * ranges are shorter. msync is owed for whole pages, so below 4 KiB it is measured against
 * pmem_persist of the page with the same stores, and pmem_persist of just the range stands beside. */
#define _GNU_SOURCE
#include "../include/daxshim.h"
#include "blocks.h"
#include "lines.h"
#include <fcntl.h>
#include <libpmem.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { BLOCK_BYTES = 1 << 20 };

typedef void persist_t(char *at, size_t length);

static void by_msync(char *at, size_t length)
{
	if (msync(at, length, MS_SYNC)) {
		perror("msync");
		exit(1);
	}
}

static void by_daxshim(char *at, size_t length)
{
	if (daxshim_persist(at, length)) {
		perror("daxshim_persist");
		exit(1);
	}
}

static void by_libpmem(char *at, size_t length) { pmem_persist(at, length); }

static void by_loop(char *at, size_t length)
{
	write_back(at, length);
	fence();
}

static size_t whole_pages(size_t length) { return (length + PAGE - 1) & ~(size_t)(PAGE - 1); }

static void page_by_libpmem(char *at, size_t length) { pmem_persist(at, whole_pages(length)); }
static void page_by_loop(char *at, size_t length) { by_loop(at, whole_pages(length)); }

enum way { LOOP, LIBPMEM, DAXSHIM, MSYNC, PAGE_LOOP, PAGE_LIBPMEM, WAYS };

static persist_t *const PERSIST[WAYS] = {
	[LOOP] = by_loop,           [LIBPMEM] = by_libpmem,     [DAXSHIM] = by_daxshim,
	[MSYNC] = by_msync,         [PAGE_LOOP] = page_by_loop, [PAGE_LIBPMEM] = page_by_libpmem,
};

static double times[WAYS][MOST_ROUNDS];

/* Nanoseconds an operation. */
static double block(persist_t *persist, char *map, size_t area, size_t length)
{
	size_t step = whole_pages(length), bytes = step > BLOCK_BYTES ? step : BLOCK_BYTES;
	int operations = 0;
	double start = now();
	for (char *at = map; at < map + bytes && at + step <= map + area; at += step, operations++) {
		for (size_t line = 0; line < length; line += LINE)
			*(volatile long *)(at + line) = operations;
		persist(at, length);
	}
	return (now() - start) / operations;
}

static int measure(char *map, size_t area, size_t length)
{
	int ways = length < PAGE ? WAYS : PAGE_LOOP;
	int rounds = MOST_ROUNDS;
	for (int way = 0; way < ways; way++)
		block(PERSIST[way], map, area, length);
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < ways; i++) {
			/* Each next to each, and in either order. */
			int place = round % 2 ? ways - 1 - i : i, way = (place + round / 2) % ways;
			times[way][round] = block(PERSIST[way], map, area, length);
		}
	return rounds;
}

static const char *bytes(size_t n)
{
	static char text[32];
	if (n >= 1 << 20)
		snprintf(text, sizeof text, "%zu MiB", n >> 20);
	else if (n >= 1 << 10)
		snprintf(text, sizeof text, "%zu KiB", n >> 10);
	else
		snprintf(text, sizeof text, "%zu B", n);
	return text;
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
	struct stat st;
	if (fd < 0 || fstat(fd, &st) || st.st_size < 16 << 20) {
		fprintf(stderr, "usage: %s FILE (tagged, at least 16 MiB)\n", argv[0]);
		return 2;
	}
	char *map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	if (!daxshim_weak_persist || daxshim_needs_msync(map, st.st_size)) {
		fprintf(stderr, "%s: not a sync mapping: is the shim preloaded, the file tagged?\n", argv[0]);
		return 1;
	}
	puts("| stores to | clwb, sfence: ns | pmem_persist: ns | daxshim_persist | clwb, sfence of the "
	     "page: ns | pmem_persist of the page: ns | msync |");
	puts("|---|---|---|---|---|---|---|");
	for (size_t n = 64; n < PAGE; n *= 4) {
		int rounds = measure(map, st.st_size, n);
		printf("| %s | %.0f | %.0f | %+.1f ns | %.0f | %.0f | %+.1f ns |\n", bytes(n),
		       median(times[LOOP], rounds), median(times[LIBPMEM], rounds),
		       median_difference(times[DAXSHIM], times[LIBPMEM], rounds),
		       median(times[PAGE_LOOP], rounds), median(times[PAGE_LIBPMEM], rounds),
		       median_difference(times[MSYNC], times[PAGE_LIBPMEM], rounds));
		fflush(stdout);
	}
	puts("");
	puts("| stores to | clwb, sfence: ns | pmem_persist / clwb | msync / clwb | msync / pmem_persist | "
	     "daxshim_persist / pmem_persist |");
	puts("|---|---|---|---|---|---|");
	for (size_t n = PAGE; n <= 16 << 20; n *= 4) {
		int rounds = measure(map, st.st_size, n);
		printf("| %s | %.0f | %.3f | %.3f | %.3f | %.3f |\n", bytes(n), median(times[LOOP], rounds),
		       median_ratio(times[LIBPMEM], times[LOOP], rounds),
		       median_ratio(times[MSYNC], times[LOOP], rounds),
		       median_ratio(times[MSYNC], times[LIBPMEM], rounds),
		       median_ratio(times[DAXSHIM], times[LIBPMEM], rounds));
		fflush(stdout);
	}
	return 0;
}
