/* The log that log.c and direct.c write, and powercut/src/checkers/log.rs checks: a head page with the number of records
 * that are there, and records of three lines, in a ring. */
#ifndef LOG_H
#define LOG_H

#include <stdint.h>

#define LOG_MAGIC 0xdaff
#define LOG_SIZE (4 << 20)
#define LOG_HEAD 4096

struct log_record {
	uint64_t number; /* from 1 on */
	uint8_t payload[176];
	uint64_t sum;
};

struct log_head {
	uint64_t magic, records;
};

#define LOG_CAPACITY ((LOG_SIZE - LOG_HEAD) / sizeof(struct log_record))

static inline uint64_t log_sum(const struct log_record *record)
{
	uint64_t sum = 1469598103934665603ull ^ record->number;
	for (unsigned i = 0; i < sizeof record->payload; i++)
		sum = (sum ^ record->payload[i]) * 1099511628211ull;
	return sum;
}

static inline void log_fill(struct log_record *record, uint64_t number)
{
	record->number = number;
	for (unsigned i = 0; i < sizeof record->payload; i++)
		record->payload[i] = number * 31 + i;
	record->sum = log_sum(record);
}

#endif
