/* What the programs for `daxshim crash` share. Started as PROGRAM wrong|right DIR: the bug, or its
 * corrected twin; and as PROGRAM check IMAGE: the checker. `store` in DIR is sixteen pages of zeros:
 * a counter in the first, and records from the second on, of which as many count as it says. */
#ifndef CRASH_H
#define CRASH_H

#include "../check/check.h"
#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>

#define PAGES 16
#define RECORDS 24
#define WORDS 16

struct record {
	uint64_t words[WORDS];
};

static volatile uint64_t *count_of(char *p)
{
	return (volatile uint64_t *)p;
}

static struct record *record_of(char *p, long number)
{
	return (struct record *)(p + PAGE) + number;
}

static UNUSED char *store(void)
{
	return mapped("store", PAGES);
}

static UNUSED void fill(char *p, long number)
{
	for (int i = 0; i < WORDS; i++)
		record_of(p, number)->words[i] = number + 1;
}

static UNUSED void sync_records(char *p)
{
	sync_range(p + PAGE, PAGES - 1);
}

static UNUSED void commit(char *p, long number)
{
	*count_of(p) = number + 1;
	sync_range(p, 1);
}

static UNUSED int check_records(char *p)
{
	uint64_t count = *count_of(p);
	for (uint64_t number = 0; number < count; number++)
		for (int i = 0; i < WORDS; i++)
			if (record_of(p, number)->words[i] != number + 1) {
				printf("record %ld of %ld is not whole\n", (long)number + 1, (long)count);
				return 1;
			}
	return 0;
}

static int start(int argc, char **argv, int (*check)(char *), void (*run)(void))
{
	if (argc == 3 && strcmp(argv[1], "check") == 0)
		return check(mapped(argv[2], PAGES));
	begin(argc, argv);
	run();
	return 0;
}

#endif
