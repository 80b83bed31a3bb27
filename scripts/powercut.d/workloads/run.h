/* What every workload starts and ends its recorded part with. Settings come in POWERCUT, which scripts/powercut.d/guest
 * sets: "RUN SEED FENCES ACKS STORES POINTS MIB REPAIRED". Without it nobody watches, and marks are nops. */
#ifndef RUN_H
#define RUN_H

#include "mark.h"
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Where the file lies on the device: a tagged file's blocks stay there. */
static void tell_extents(const char *name)
{
	struct {
		struct fiemap map;
		struct fiemap_extent extents[512];
	} *all = calloc(1, sizeof *all);
	int fd = open(name, O_RDONLY);
	all->map.fm_length = ~0ull;
	all->map.fm_extent_count = 512;
	if (fd < 0 || ioctl(fd, FS_IOC_FIEMAP, &all->map) != 0)
		fail(name);
	for (unsigned i = 0; i < all->map.fm_mapped_extents; i++) {
		const struct fiemap_extent *extent = &all->extents[i];
		mark(MARK_EXTENT, extent->fe_physical, extent->fe_length >> 12 << 32 | extent->fe_logical >> 12);
	}
	close(fd);
	free(all);
}

/* Where the kernel's functions are: POWERCUT_SYMBOLS has NAME=START-END of each. */
static void tell_symbols(void)
{
	static const char *const names[] = {
#define X(id, name) " " name "=",
		KERNEL_FUNCTIONS
#undef X
	};
	const char *symbols = getenv("POWERCUT_SYMBOLS");
	for (uint64_t i = 0; symbols && i < KERNEL_COUNT; i++) {
		const char *found = strstr(symbols, names[i]);
		unsigned long long start, end;
		if (found && sscanf(found + strlen(names[i]), "%llx-%llx", &start, &end) == 2)
			mark(MARK_SYMBOL, start, i << 32 | (end - start));
	}
}

/* From here on all is recorded. */
static void run_begins(const char *file)
{
	const char *settings = getenv("POWERCUT");
	unsigned long long run, seed, fences, acks, stores, points, mebibytes, repaired;
	volatile uint32_t is_recorded = 0;
	if (!settings)
		return;
	if (sscanf(settings, "%llu %llu %llu %llu %llu %llu %llu %llu", &run, &seed, &fences, &acks, &stores, &points,
		   &mebibytes, &repaired) != 8) {
		fprintf(stderr, "powercut: bad POWERCUT '%s'\n", settings);
		exit(2);
	}
	tell_extents(file);
	tell_symbols();
	mark(MARK_SEED, seed, repaired);
	mark(MARK_DENSITY, BEFORE_FENCE, fences);
	mark(MARK_DENSITY, BEHIND_ACK, acks);
	mark(MARK_DENSITY, BEHIND_STORE, stores);
	mark(MARK_LIMIT, points, mebibytes);
	for (int i = 0; i < 100000 && !is_recorded; i++) {
		mark(MARK_BEGIN, run, (uint64_t)(uintptr_t)&is_recorded);
		sched_yield();
	}
	if (!is_recorded) {
		fprintf(stderr, "powercut: nobody records\n");
		exit(3);
	}
}

static inline void run_ends(void)
{
	mark(MARK_END, 0, 0);
}

static inline void transaction(unsigned writer, uint64_t number, char way)
{
	mark(MARK_TRANSACTION, way, number << 16 | writer);
}

static inline void acknowledge(unsigned writer, uint64_t number)
{
	mark(MARK_ACK, writer, number);
}

#endif
