/* What the machine can do at all: clwb of each line, a page at a time where there is one. */
#ifndef LINES_H
#define LINES_H

#include <stddef.h>

enum { LINE = 64, PAGE = 4096 };

static inline __attribute__((always_inline)) void write_back(char *at, size_t length)
{
	char *end = at + length;
	for (; at + PAGE <= end; at += PAGE)
		__asm__ volatile(".set .Loffset, 0\n"
		                 ".rept 64\n"
		                 "clwb .Loffset(%0)\n"
		                 ".set .Loffset, .Loffset + 64\n"
		                 ".endr" ::"r"(at)
		                 : "memory");
	for (; at < end; at += LINE)
		__asm__ volatile("clwb (%0)" ::"r"(at) : "memory");
}

static inline void fence(void) { __asm__ volatile("sfence" ::: "memory"); }

#endif
