/* The lines of the device: which of them are not durable, and what waits for whose fence. */
#ifndef LINES_H
#define LINES_H

#include "../workloads/mark.h"
#include <stdbool.h>
#include <stdint.h>

/* At the begin of a run: all is durable as it is. */
void lines_begin(const uint8_t *device, uint64_t size);
/* One in n of these is a crash point. */
void lines_density(enum cause cause, uint64_t one_in);
void lines_seed(uint64_t seed);
/* A store to bytes of the device. */
void line_stored(unsigned cpu, uint64_t offset, unsigned length, bool around_the_cache);
/* clwb, clflushopt; or clflush. */
void line_flushed(unsigned cpu, uint32_t line, bool at_once);
void line_fence(unsigned cpu);
/* An acknowledgement, which may be a crash point. */
void line_acknowledged(unsigned cpu);
uint64_t crash_points(void);

#endif
