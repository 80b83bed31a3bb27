/* What a workload tells the plugin that watches its guest: an eight-byte nop that no compiler writes, with the
 * message in registers. It takes effect at that very instruction; outside the rig it does nothing. */
#ifndef MARK_H
#define MARK_H

#include <stdint.h>

enum mark {
	MARK_ACK,         /* rdi writer, rsi number: the writer's transaction is acknowledged as durable */
	MARK_TRANSACTION, /* rdi way, rsi number << 16 | writer: it begins, and this thread is the writer */
	MARK_EXTENT,      /* rdi byte of the device, rsi pages << 32 | page of the file: where the file lies */
	MARK_MAPPED,      /* rdi address, rsi pages << 32 | page of the file: all of it is mapped there by this process */
	MARK_SYMBOL,      /* rdi address, rsi which << 32 | length: a function of the kernel */
	MARK_DENSITY,     /* rdi cause, rsi n: one in n of these is a crash point (0: none) */
	MARK_LIMIT,       /* rdi: the run is given up after so many crash points, rsi: or so many MiB of trace */
	MARK_SEED,        /* rdi: of the choice of crash points; rsi: whether the kernel is repaired in memory */
	MARK_BEGIN,       /* rdi: of a run, its number; rsi: where 1 is written once the plugin records */
	MARK_END,         /* of the run */
};

/* What a crash point is just before or behind. */
enum cause { BEFORE_FENCE = 1, BEHIND_ACK, BEHIND_STORE, CAUSES };

/* Functions of the kernel's DAX write-back, as MARK_SYMBOL numbers them. */
#define KERNEL_FUNCTIONS                                                                                        \
	X(WRITEBACK, "dax_writeback_mapping_range")                                                             \
	X(TAG, "tag_pages_for_writeback")                                                                       \
	X(UNLOCKED, "get_unlocked_entry")                                                                       \
	X(CLEAR_MARK, "xas_clear_mark")                                                                         \
	X(FLUSH, "dax_flush")

enum kernel_function {
#define X(id, name) KERNEL_##id,
	KERNEL_FUNCTIONS
#undef X
	KERNEL_COUNT
};

#define MARK_BYTES 0x0f, 0x1f, 0x84, 0x00, 0x4b, 0x43, 0x41, 0x50

static inline void mark(enum mark what, uint64_t rdi, uint64_t rsi)
{
	__asm__ volatile(".byte 0x0f,0x1f,0x84,0x00,0x4b,0x43,0x41,0x50" ::"d"((uint64_t)what), "D"(rdi), "S"(rsi)
			 : "memory");
}

#endif
