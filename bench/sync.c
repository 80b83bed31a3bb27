/* What it costs to make stores durable: the kernel's msync against the shim's, in one process.
 *
 * Run on a tagged file, with the shim preloaded and DAXSHIM_FLUSH unset. `with` is the msync the
 * program sees, `without` libc's own system call, made here. Under the instruction-counting clock
 * of scripts/vm --icount a nanosecond is an instruction, and the figures are the same at every
 * run. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 64, PAGE = 4096 };

typedef int msync_t(void *, size_t, int);

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Behind the hooks: through no symbol, at no place in libc's code. */
static int kernel(void *start, size_t length, int flags)
{
	long result;
	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(SYS_msync), "D"(start), "S"(length), "d"(flags)
	                 : "rcx", "r11", "memory");
	if (result < 0) {
		errno = -result;
		return -1;
	}
	return 0;
}

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
			sync_or_die(sync, at, lines == 1 ? LINE : PAGE);
		}
	}
	return (now() - start) / (ROUNDS * PAGES);
}

static double one_line(msync_t *sync, char *map) { return page_cost(sync, map, 1); }
static double one_page(msync_t *sync, char *map) { return page_cost(sync, map, PAGE / LINE); }

/* Stores to each line of `dirty` of `pages` pages, evenly spread, then syncs them all. */
static double range_cost(msync_t *sync, char *map, size_t pages, size_t dirty, int warm, int rounds)
{
	double start = now();
	for (int round = -warm; round < rounds; round++) {
		if (round == 0)
			start = now();
		for (size_t i = 0; i < dirty; i++) {
			volatile char *at = map + i * pages / dirty * PAGE;
			for (int line = 0; line < PAGE / LINE; line++)
				at[line * LINE] = 1;
		}
		sync_or_die(sync, map, pages * PAGE);
	}
	return (now() - start) / rounds;
}

static void row(const char *size, const char *dirty, double without, double with)
{
	printf("%-12s %12s %14.0f %14.0f %8.3f %8.1fx\n", size, dirty, without, with, with / without,
	       without / with);
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

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
	struct stat st;
	if (fd < 0 || fstat(fd, &st) || st.st_size < 1 << 20) {
		fprintf(stderr, "usage: %s FILE (tagged, at least 1 MiB)\n", argv[0]);
		return 2;
	}
	char *map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	printf("%-12s %12s %14s %14s %8s %9s\n", "msync of", "dirty", "kernel, ns", "shim, ns", "ratio",
	       "cheaper");
	row("64 B", "1 line", one_line(kernel, map), one_line(msync, map));
	row("4 KiB", "64 lines", one_page(kernel, map), one_page(msync, map));
	size_t all = st.st_size / PAGE;
	static const size_t sizes[] = {4, 16, 64, 256, 2048, 0};
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
		size_t pages = sizes[s] ? sizes[s] : all;
		if (pages > all)
			continue;
		for (size_t dirty = 0; dirty <= pages; dirty = dirty ? dirty * 16 : 1) {
			/* Large ones are slow under the counting clock; small ones warm up fast. */
			int rounds = dirty > 4096 ? 2 : dirty > 256 ? 4 : 40;
			int warm = dirty > 4096 ? 4 : 40;
			char text[32];
			snprintf(text, sizeof text, "%zu pages", dirty);
			double without = range_cost(kernel, map, pages, dirty, 1, rounds);
			/* From a clean start, as in a process of its own. */
			kernel(map, st.st_size, MS_SYNC);
			double with = range_cost(msync, map, pages, dirty, warm, rounds);
			kernel(map, st.st_size, MS_SYNC);
			row(bytes(pages * PAGE), text, without, with);
		}
	}
	return 0;
}
