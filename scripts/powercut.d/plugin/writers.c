#include "writers.h"
#include "qemu.h"
#include "record.h"
#include <string.h>
#include <sys/syscall.h>

#define WRITERS 256
#define MAPPINGS 4096
#define EXTENTS 1024

/* A thread is known by its thread pointer and its page table. */
static struct writer {
	uint64_t thread, table;
	struct run {
		bool any;
		uint32_t first, last;
	} flushed[2]; /* by the program, by the kernel */
} writers[WRITERS];
static unsigned known;

static struct mapping {
	uint64_t table, address, length, first_page;
} mappings[MAPPINGS];
static unsigned next_mapping;

static struct extent {
	uint64_t device_byte, pages, first_page;
} extents[EXTENTS];
static unsigned extent_count;

void writers_begin(void)
{
	memset(writers, 0, sizeof writers);
	memset(mappings, 0, sizeof mappings);
	known = next_mapping = 0;
}

void writer_is(unsigned cpu, uint32_t writer)
{
	if (writer >= WRITERS)
		return;
	writer_done(cpu, writer);
	writers[writer].thread = qemu_register(cpu, FS_BASE);
	writers[writer].table = qemu_register(cpu, CR3);
	if (writer >= known)
		known = writer + 1;
}

uint32_t writer_of(unsigned cpu)
{
	uint64_t thread = qemu_register(cpu, FS_BASE), table = qemu_register(cpu, CR3);
	for (unsigned i = 0; i < known; i++)
		if (writers[i].thread == thread && writers[i].table == table)
			return i;
	return NOBODY;
}

static void record_run(unsigned cpu, uint32_t writer, bool by_kernel)
{
	struct run *run = &writers[writer].flushed[by_kernel];
	if (run->any)
		record(TRACE_LINES, cpu, by_kernel, writer, (uint64_t)run->first << 32 | run->last);
	run->any = false;
}

void writer_flushed(unsigned cpu, uint32_t writer, bool by_kernel, uint32_t line)
{
	struct run *run = &writers[writer].flushed[by_kernel];
	if (run->any && line == run->last + 1) {
		run->last = line;
		return;
	}
	record_run(cpu, writer, by_kernel);
	*run = (struct run){true, line, line};
}

void writer_done(unsigned cpu, uint32_t writer)
{
	if (writer >= WRITERS)
		return;
	record_run(cpu, writer, false);
	record_run(cpu, writer, true);
}

void file_extent(uint64_t device_byte, uint64_t pages, uint64_t first_page)
{
	/* The first of a file: that of an earlier run is forgotten. */
	if (first_page == 0)
		extent_count = 0;
	if (extent_count < EXTENTS)
		extents[extent_count++] = (struct extent){device_byte, pages, first_page};
}

void file_extents_record(void)
{
	for (unsigned i = 0; i < extent_count; i++)
		record(TRACE_EXTENT, 0, 0, extents[i].pages,
		       extents[i].device_byte / PAGE << 32 | extents[i].first_page);
}

void file_mapped(unsigned cpu, uint64_t address, uint64_t pages, uint64_t first_page)
{
	uint64_t table = qemu_register(cpu, CR3);
	/* Newer ones are looked at first: an older one at the same place is out of sight. */
	mappings[next_mapping++ % MAPPINGS] = (struct mapping){table, address, pages * PAGE, first_page};
}

/* The page of the file at an address, or NOWHERE. */
static uint64_t page_at(unsigned cpu, uint64_t address)
{
	uint64_t table = qemu_register(cpu, CR3);
	unsigned oldest = next_mapping > MAPPINGS ? next_mapping - MAPPINGS : 0;
	for (unsigned i = next_mapping; i-- > oldest;) {
		const struct mapping *mapping = &mappings[i % MAPPINGS];
		if (mapping->table == table && address - mapping->address < mapping->length)
			return mapping->first_page + (address - mapping->address) / PAGE;
	}
	return NOWHERE;
}

uint64_t file_at(unsigned cpu, uint64_t address)
{
	uint64_t page = page_at(cpu, address);
	for (unsigned i = 0; page != NOWHERE && i < extent_count; i++)
		if (page - extents[i].first_page < extents[i].pages)
			return extents[i].device_byte + (page - extents[i].first_page) * PAGE + address % PAGE;
	return NOWHERE;
}

/* Pages from a byte on. */
static uint64_t pages_of(uint64_t byte, uint64_t length)
{
	return (byte + length + PAGE - 1) / PAGE - byte / PAGE;
}

void file_call(unsigned cpu)
{
	const uint64_t whole = 0xffffffff, none = 0xffffffff;
	uint64_t number = qemu_register(cpu, RAX), first = 0, pages = whole;
	uint32_t writer;
	switch (number) {
	case SYS_msync:
		first = page_at(cpu, qemu_register(cpu, RDI));
		first = first == NOWHERE ? none : first;
		pages = pages_of(0, qemu_register(cpu, RSI));
		break;
	case SYS_sync_file_range: {
		uint64_t from = qemu_register(cpu, RSI), length = qemu_register(cpu, RDX);
		first = from / PAGE;
		pages = length ? pages_of(from, length) : whole;
		break;
	}
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_syncfs:
	case SYS_sync:
		break;
	default:
		return;
	}
	writer = writer_of(cpu);
	if (writer != NOBODY)
		record(TRACE_CALL, cpu, number, writer, first << 32 | (pages & whole));
}
