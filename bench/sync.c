/* What it costs to make stores durable: the kernel's msync against the shim's, in one program, and the
 * limit: the same stores with clwb and sfence of just what they touched.
 *
 * Run on a tagged file, with the shim preloaded and DAXSHIM_FLUSH unset. Under the instruction-counting clock
 * of scripts/vm --icount a nanosecond is an instruction, and the figures are the same at every
 * run. */
#define _GNU_SOURCE
#include "lines.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef int msync_t(void *, size_t, int);

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* The kernel's, by the msync of a second libc in a namespace of its own, which the shim does not
 * reach. */
static msync_t *kernel;

static void sync_or_die(msync_t *sync, char *at, size_t length)
{
	if (sync(at, length, MS_SYNC)) {
		perror("msync");
		exit(1);
	}
}

/* One line or all lines of a page in turn, and msync of it. Nanoseconds an operation, the store's
 * fault included. Inlined with constants, so that little but stores and msync is measured. */
static inline __attribute__((always_inline)) double page_cost(msync_t *sync, char *map, int lines)
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
			if (sync) {
				sync_or_die(sync, at, lines == 1 ? LINE : PAGE);
				continue;
			}
			write_back(at, lines * LINE);
			fence();
		}
	}
	return (now() - start) / (ROUNDS * PAGES);
}

static double one_line(msync_t *sync, char *map) { return page_cost(sync, map, 1); }
static double one_page(msync_t *sync, char *map) { return page_cost(sync, map, PAGE / LINE); }

/* Stores to each line of `dirty` of `pages` pages, evenly spread, then syncs them all; without a
 * `sync` just what was stored: the limit, for whom knows what that is. */
static void round_of(msync_t *sync, char *map, size_t pages, size_t dirty)
{
	for (size_t i = 0; i < dirty; i++) {
		volatile char *at = map + i * pages / dirty * PAGE;
		for (int line = 0; line < PAGE / LINE; line++)
			at[line * LINE] = 1;
	}
	if (sync) {
		sync_or_die(sync, map, pages * PAGE);
		return;
	}
	for (size_t i = 0; i < dirty; i++)
		write_back(map + i * pages / dirty * PAGE, PAGE);
	fence();
}

/* Nanoseconds a round, on average over `rounds` of them, after as many as `warm`; of both fewer, but
 * `least`, where they take longer than BUDGET: large ones are slow under the counting clock. */
static double range_cost(msync_t *sync, char *map, size_t pages, size_t dirty, int warm, int rounds, int least)
{
	const double BUDGET = 1e9;
	double begin = now(), last = begin, start = begin;
	for (int round = 0; round < warm && (round < least || start - begin < BUDGET); round++) {
		last = start;
		round_of(sync, map, pages, dirty);
		start = now();
	}
	if (rounds * (start - last) > BUDGET)
		rounds = BUDGET / (start - last);
	if (rounds < least)
		rounds = least;
	start = now();
	for (int round = 0; round < rounds; round++)
		round_of(sync, map, pages, dirty);
	return (now() - start) / rounds;
}

static void row(const char *size, const char *dirty, double without, double with, double limit)
{
	printf("| %s | %s | %.0f | %.0f | %.3f | %.1f | %.0f |\n", size, dirty, without, with,
	       with / without, without / with, limit);
	fflush(stdout);
}

static const char *bytes(size_t n)
{
	static char text[32];
	if (n >= 1 << 20)
		snprintf(text, sizeof text, "%zu MiB", n >> 20);
	else
		snprintf(text, sizeof text, "%zu KiB", n >> 10);
	return text;
}

static const char *pages_text(size_t n)
{
	static char text[32];
	if (n == 0)
		return "none";
	snprintf(text, sizeof text, n == 1 ? "1 page" : "%zu pages", n);
	return text;
}

/* One cell: the kernel's msync, and from a clean start the shim's. In a process of its own, as what
 * the shim has learnt about one pattern would serve it for the next. */
static void cell(char *map, size_t all, size_t pages, size_t dirty)
{
	int status;
	pid_t child = fork();
	if (child) {
		if (child < 0 || waitpid(child, &status, 0) < 0 || status)
			exit(1);
		return;
	}
	double without = range_cost(kernel, map, pages, dirty, 1, 40, 1);
	kernel(map, all * PAGE, MS_SYNC);
	double with = range_cost(msync, map, pages, dirty, 1000, 200, 4);
	double limit = range_cost(NULL, map, pages, dirty, 1, 40, 1);
	row(bytes(pages * PAGE), pages_text(dirty), without, with, limit);
	_exit(0);
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	int whole = argc == 3 && !strcmp(argv[2], "whole");
	struct stat st;
	if (fd < 0 || argc > 2 + whole || fstat(fd, &st) || st.st_size < 1 << 20) {
		fprintf(stderr, "usage: %s FILE [whole] (tagged, at least 1 MiB)\n", argv[0]);
		return 2;
	}
	char *map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *libc = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
	kernel = libc ? (msync_t *)dlsym(libc, "msync") : NULL;
	if (map == MAP_FAILED || !kernel) {
		perror("set-up");
		return 1;
	}
	puts("| msync of | dirty | kernel | shim | ratio | times cheaper | limit |\n|---|---|---|---|---|---|---|");
	fflush(stdout);
	size_t all = st.st_size / PAGE;
	static const size_t sizes[] = {4, 16, 64, 256, 2048, 0};
	size_t first = sizeof sizes / sizeof *sizes - 1;
	if (!whole) {
		first = 0;
		row("64 B", "1 line", one_line(kernel, map), one_line(msync, map), one_line(NULL, map));
		row("4 KiB", "64 lines", one_page(kernel, map), one_page(msync, map), one_page(NULL, map));
	}
	for (size_t s = first; s < sizeof sizes / sizeof *sizes; s++) {
		size_t pages = sizes[s] ? sizes[s] : all;
		if (pages > all)
			continue;
		size_t dirty = 0;
		for (; dirty < pages; dirty = dirty ? dirty * 16 : 1)
			cell(map, all, pages, dirty);
		cell(map, all, pages, pages);
	}
	return 0;
}
