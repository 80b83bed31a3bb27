/* The trace of a run: a head, then records, some with content behind. powercut/src/trace.rs reads it. */
#ifndef TRACE_H
#define TRACE_H

#include <stdint.h>

#define TRACE_MAGIC 0x3154554352574f50ull /* "POWRCUT1" */
#define LINE 64
#define PAGE 4096

struct trace_head {
	uint64_t magic;
	uint64_t size; /* of the device, in bytes */
	uint64_t run;
	uint64_t seed;
};

struct trace_record {
	uint8_t kind;
	uint8_t cpu;
	uint16_t detail;
	uint32_t a;
	uint64_t b;
};

enum trace_kind {
	TRACE_BASE = 1,    /* a: page, + its content: durable when the run begins; pages not named are zero */
	TRACE_FLUSHED,     /* a: line, + its content: written back by cpu, durable at cpu's next fence.
			      b: sequence number << 24 | place in cpu's list of such lines */
	TRACE_FENCE,       /* b: so many lines of cpu's list become durable */
	TRACE_DURABLE,     /* a: line, + its content: durable now (clflush). b: sequence number */
	TRACE_STORED,      /* a: line, + its content in the cache at the crash point that follows */
	TRACE_POINT,       /* a crash point; detail: cause */
	TRACE_ACK,         /* a: writer, b: number */
	TRACE_TRANSACTION, /* a: writer, b: number, detail: way */
	TRACE_EXTENT,      /* a: pages, b: page of the device << 32 | page of the file */
	TRACE_CALL,        /* a sync call of the writer a. detail: its number, b: first page of the file << 32 | pages;
			      first ~0: not of the file; pages ~0: up to its end */
	TRACE_LINES,       /* a: writer, detail: flushed 0 by the program, 1 by the kernel for it,
			      b: first line of the device << 32 | last */
	TRACE_KERNEL,      /* a: writer, or NOBODY; detail: step | HUGE_ENTRY; b: page of the file */
	TRACE_END,         /* detail: how it ended. b: crash points */
};

enum kernel_step {
	STEP_TAGS = 1,   /* the pages to be written back are tagged */
	STEP_LOCKED,     /* an entry is locked, to be flushed */
	STEP_FLUSHES,    /* and is being flushed */
	STEP_FLUSHED,    /* and is clean */
	STEP_MEETS,      /* an entry is locked by somebody else */
	STEP_WAITED,     /* and was waited for */
	STEP_SKIPPED,    /* or taken for gone, and skipped */
	STEP = 0xff,
	HUGE_ENTRY = 0x100,
};

#define NOBODY 0xffffffffu

enum trace_end { END_OF_WORKLOAD, END_BY_POINTS, END_BY_SIZE };

#endif
