/* Times of several ways to do one thing, told apart on a machine whose speed drifts: in each round
 * every way runs one block of calls, in an order that changes; what counts are medians over rounds of
 * a block's time against that of another way's block in the same round. */
#ifndef BLOCKS_H
#define BLOCKS_H

#include <stdlib.h>
#include <time.h>

enum { MOST_ROUNDS = 601 };

static inline double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static inline int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static inline double median(const double *values, int count)
{
	double sorted[MOST_ROUNDS];
	for (int i = 0; i < count; i++)
		sorted[i] = values[i];
	qsort(sorted, count, sizeof *sorted, ascending);
	return sorted[count / 2];
}

/* Of a / b, round by round. */
static inline double median_ratio(const double *a, const double *b, int rounds)
{
	double ratios[MOST_ROUNDS];
	for (int i = 0; i < rounds; i++)
		ratios[i] = a[i] / b[i];
	return median(ratios, rounds);
}

/* Of a - b, round by round. */
static inline double median_difference(const double *a, const double *b, int rounds)
{
	double differences[MOST_ROUNDS];
	for (int i = 0; i < rounds; i++)
		differences[i] = a[i] - b[i];
	return median(differences, rounds);
}

#endif
