/* Which instructions matter, and what their operands are. */
#ifndef DECODE_H
#define DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum instruction {
	OTHER,
	STORE_AROUND, /* a non-temporal store */
	WRITE_BACK,   /* clwb, clflushopt: with a fence behind */
	FLUSH,        /* clflush: ordered by itself */
	FENCE,        /* sfence, mfence, what has a lock prefix, xchg with memory */
	FORGET_PAGE,  /* invlpg */
	SYSTEM_CALL,
	CALL,         /* call rel32 */
	MARK,
};

#define NO_REGISTER 0xff

/* The operand in memory. Registers in the order of their encoding: rax rcx rdx rbx rsp rbp rsi rdi r8 ... r15. */
struct operand {
	uint8_t base, index, shift;
	bool relative; /* to the next instruction */
	int32_t displacement;
};

struct decoded {
	enum instruction what;
	struct operand operand; /* of WRITE_BACK and FLUSH */
	int32_t target;         /* of CALL, relative to the next instruction */
};

struct decoded decode(const uint8_t *code, size_t length);

#endif
