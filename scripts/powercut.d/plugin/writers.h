/* Who writes: the workload's threads, their mappings, and the file. */
#ifndef WRITERS_H
#define WRITERS_H

#include <stdbool.h>
#include <stdint.h>

void writers_begin(void);
/* This thread is the writer from now on. */
void writer_is(unsigned cpu, uint32_t writer);
/* Which writer runs, or NOBODY. */
uint32_t writer_of(unsigned cpu);
/* A line of the device was flushed for the writer: consecutive ones are recorded together. */
void writer_flushed(unsigned cpu, uint32_t writer, bool by_kernel, uint32_t line);
/* Records what is not recorded yet. */
void writer_done(unsigned cpu, uint32_t writer);

void file_extent(uint64_t device_byte, uint64_t pages, uint64_t first_page);
void file_mapped(unsigned cpu, uint64_t address, uint64_t pages, uint64_t first_page);
/* Records the extents. */
void file_extents_record(void);
/* The byte of the device behind an address where the file is mapped, though no page table says so yet; or NOWHERE. */
uint64_t file_at(unsigned cpu, uint64_t address);
/* A system call that may be a sync. */
void file_call(unsigned cpu);

#endif
