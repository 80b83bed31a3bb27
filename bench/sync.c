/* What it costs to make stores durable: msync with the shim and without it, and the limit: the same
 * stores with clwb and sfence of just what they touched.
 *
 * Each figure is from a process of its own, as what the shim has learnt about one pattern would serve it
 * for the next. Under the instruction-counting clock of scripts/vm --icount a nanosecond is an
 * instruction, and the figures are the same at every run. */
#define _GNU_SOURCE
#include "lines.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What a round of a cell stores to, and syncs. */
struct cell {
	size_t pages, dirty;
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void sync_or_die(char *at, size_t length)
{
	if (msync(at, length, MS_SYNC)) {
		perror("msync");
		exit(1);
	}
}

/* ---- a process that measures one figure ---- */

/* One line or all lines of a page in turn, and msync of it. Nanoseconds an operation, the store's
 * fault included. Inlined with constants, so that little but stores and msync is measured. */
static inline __attribute__((always_inline)) double page_cost(int limit, char *map, int lines)
{
	enum { PAGES = 64, ROUNDS = 64 };
	double start = 0;
	/* The first round faults pages in and is not counted. */
	for (int round = 0; round <= ROUNDS; round++) {
		if (round == 1)
			start = now();
		for (char *at = map; at < map + PAGES * PAGE; at += PAGE) {
#pragma GCC unroll 64
			for (int line = 0; line < lines; line++)
				((volatile char *)at)[line * LINE] = 1;
			if (limit) {
				write_back(at, lines * LINE);
				fence();
			} else {
				sync_or_die(at, lines * LINE);
			}
		}
	}
	return (now() - start) / (ROUNDS * PAGES);
}

/* Stores to each line of the dirty pages, evenly spread, then syncs all pages, or at the limit just
 * those. */
static void round_of(struct cell cell, int limit, char *map)
{
	for (size_t i = 0; i < cell.dirty; i++) {
		volatile char *at = map + i * cell.pages / cell.dirty * PAGE;
#pragma GCC unroll 64
		for (int line = 0; line < PAGE / LINE; line++)
			at[line * LINE] = 1;
	}
	if (!limit) {
		sync_or_die(map, cell.pages * PAGE);
		return;
	}
	for (size_t i = 0; i < cell.dirty; i++)
		write_back(map + i * cell.pages / cell.dirty * PAGE, PAGE);
	fence();
}

/* Nanoseconds a round, on average over 200 of them, after 1,000 others; of both fewer where they take
 * longer than BUDGET: large ones are slow under the counting clock. */
static double range_cost(struct cell cell, int limit, char *map)
{
	const double BUDGET = 1e9;
	double begin = now(), last = begin, start = begin;
	for (int round = 0; round < 1000 && (round < 4 || start - begin < BUDGET); round++) {
		last = start;
		round_of(cell, limit, map);
		start = now();
	}
	int rounds = 200;
	if (rounds * (start - last) > BUDGET)
		rounds = BUDGET / (start - last);
	if (rounds < 2)
		rounds = 2;
	start = now();
	for (int round = 0; round < rounds; round++)
		round_of(cell, limit, map);
	return (now() - start) / rounds;
}

static int figure(const char *file, struct cell cell, int limit)
{
	int fd = open(file, O_RDWR);
	struct stat st;
	char *map = MAP_FAILED;
	if (fd >= 0 && !fstat(fd, &st))
		map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		perror(file);
		return 1;
	}
	double cost;
	if (cell.pages)
		cost = range_cost(cell, limit, map);
	else if (cell.dirty == 1)
		cost = limit ? page_cost(1, map, 1) : page_cost(0, map, 1);
	else
		cost = limit ? page_cost(1, map, PAGE / LINE) : page_cost(0, map, PAGE / LINE);
	printf("%f\n", cost);
	return 0;
}

/* ---- the table ---- */

static const char *self;

static double measured(const char *library, const char *file, struct cell cell, int limit)
{
	char command[4096];
	double cost;
	snprintf(command, sizeof command, "LD_PRELOAD='%s' '%s' '%s' %zu %zu %d", library, self, file, cell.pages,
	         cell.dirty, limit);
	FILE *output = popen(command, "r");
	if (!output || fscanf(output, "%lf", &cost) != 1 || pclose(output)) {
		fprintf(stderr, "failed: %s\n", command);
		exit(1);
	}
	return cost;
}

static void row(const char *library, const char *file, const char *size, const char *dirty, struct cell cell)
{
	double without = measured("", file, cell, 0), with = measured(library, file, cell, 0);
	double limit = measured("", file, cell, 1);
	printf("| %s | %s | %.0f | %.0f | %.3f | %.1f | %.0f |\n", size, dirty, without, with,
	       with / without, without / with, limit);
	fflush(stdout);
}

static void sized_row(const char *library, const char *file, struct cell cell)
{
	size_t bytes = cell.pages * PAGE;
	char size[32], dirty[32] = "none";
	if (bytes >= 1 << 20)
		snprintf(size, sizeof size, "%zu MiB", bytes >> 20);
	else
		snprintf(size, sizeof size, "%zu KiB", bytes >> 10);
	if (cell.dirty)
		snprintf(dirty, sizeof dirty, cell.dirty == 1 ? "1 page" : "%zu pages", cell.dirty);
	row(library, file, size, dirty, cell);
}

int main(int argc, char **argv)
{
	self = argv[0];
	if (argc == 5) {
		struct cell cell = {strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10)};
		return figure(argv[1], cell, atoi(argv[4]));
	}
	int whole = argc == 4 && !strcmp(argv[3], "whole");
	struct stat st;
	if (argc != 3 + whole || stat(argv[2], &st) || st.st_size < 1 << 20) {
		fprintf(stderr, "usage: %s LIBRARY FILE [whole] (tagged, at least 1 MiB)\n", argv[0]);
		return 2;
	}
	puts("| msync of | dirty | kernel | shim | ratio | times cheaper | limit |\n|---|---|---|---|---|---|---|");
	fflush(stdout);
	size_t all = st.st_size / PAGE;
	size_t sizes[] = {4, 16, 64, 256, 2048, all}, first = 5;
	if (!whole) {
		first = 0;
		row(argv[1], argv[2], "64 B", "1 line", (struct cell){0, 1});
		row(argv[1], argv[2], "4 KiB", "64 lines", (struct cell){0, PAGE / LINE});
	}
	for (size_t s = first; s < sizeof sizes / sizeof *sizes; s++) {
		size_t dirty = 0;
		for (; sizes[s] <= all && dirty < sizes[s]; dirty = dirty ? dirty * 16 : 1)
			sized_row(argv[1], argv[2], (struct cell){sizes[s], dirty});
		if (sizes[s] <= all)
			sized_row(argv[1], argv[2], (struct cell){sizes[s], sizes[s]});
	}
	return 0;
}
