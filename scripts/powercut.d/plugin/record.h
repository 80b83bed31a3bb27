/* The trace being written. */
#ifndef RECORD_H
#define RECORD_H

#include "trace.h"
#include <stdbool.h>
#include <stddef.h>

/* Opens DIRECTORY/run-N.part; while it cannot be written, is_recording() stays false. */
void record_begin(const char *directory, const struct trace_head *head, uint64_t limit);
bool is_recording(void);
void record(enum trace_kind kind, unsigned cpu, unsigned detail, uint32_t a, uint64_t b);
void record_content(enum trace_kind kind, unsigned cpu, unsigned detail, uint32_t a, uint64_t b, const void *content,
		    size_t length);
/* Whether the trace has grown to its limit. */
bool record_is_full(void);
/* Renames it: run-N.trace when it is complete, run-N.cut when some of it could not be written. */
void record_end(enum trace_end how, uint64_t points);

#endif
