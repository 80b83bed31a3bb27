/* dax_writeback_one (fs/dax.c, inlined into dax_writeback_mapping_range) calls functions that have symbols: each call
 * of theirs from there is one of its steps. So no address inside of it need be known, and none is written down: the
 * workload looks the functions up in /proc/kallsyms.
 *
 *   tag_pages_for_writeback                  the pages to be written back are tagged
 *   xas_clear_mark(xas, TOWRITE)             its entry is locked
 *   dax_flush                                and flushed
 *   xas_clear_mark(xas, DIRTY)               and clean
 *   get_unlocked_entry                       it meets an entry locked; NULL: takes it for gone
 *
 * The repair (docs/kernel-race.md) is made in the guest's memory while it runs: before get_unlocked_entry the walk is
 * reset; and TOWRITE, which the kernel clears before the flush, is not cleared at all: xas_clear_mark returns at once
 * for a walk that is reset. Entries that stay tagged are flushed again by later syncs, which is slow and harmless. */
#include "kernel.h"
#include "../workloads/mark.h"
#include "qemu.h"
#include "record.h"
#include "writers.h"

/* include/linux/xarray.h */
enum { XAS_INDEX = 8, XAS_NODE = 24, XAS_RESTART = 3 };
enum { TAG_DIRTY = 0, TAG_TOWRITE = 2 };
#define HUGE_SHIFT 6 /* of the node that holds entries of 2 MiB */
#define PROCESSORS 16

static struct {
	uint64_t address, length;
} functions[KERNEL_COUNT];
static bool is_repaired;
/* Behind the calls of get_unlocked_entry and xas_clear_mark. */
static uint64_t behind_unlocked[8], behind_clear[8];
/* Of the processor: the walk that get_unlocked_entry works on, and the node that xas_clear_mark shall not see. */
static struct {
	uint64_t page, walk, hidden_from, node;
	unsigned huge;
} current[PROCESSORS];

void kernel_begin(bool repaired)
{
	is_repaired = repaired;
}

void kernel_symbol(unsigned which, uint64_t address, uint64_t length)
{
	if (which < KERNEL_COUNT) {
		functions[which].address = address;
		functions[which].length = length;
	}
}

static bool is_write_back(uint64_t address)
{
	return address - functions[KERNEL_WRITEBACK].address < functions[KERNEL_WRITEBACK].length;
}

static uint64_t word_at(unsigned cpu, uint64_t address)
{
	uint64_t word = 0;
	qemu_read(cpu, address, &word, sizeof word);
	return word;
}

static void step(unsigned cpu, enum kernel_step step)
{
	if (is_recording())
		record(TRACE_KERNEL, cpu, step | current[cpu].huge, writer_of(cpu), current[cpu].page);
}

/* Which entry a walk is at. */
static void look_at(unsigned cpu, uint64_t walk)
{
	uint64_t node = word_at(cpu, walk + XAS_NODE);
	current[cpu].walk = walk;
	current[cpu].page = word_at(cpu, walk + XAS_INDEX);
	/* The first byte of a node is its shift. Values below 4 are no node (see xas_not_node). */
	current[cpu].huge = node > 3 && (word_at(cpu, node) & 0xff) >= HUGE_SHIFT ? HUGE_ENTRY : 0;
}

static void write_word(unsigned cpu, uint64_t address, uint64_t word)
{
	qemu_write(cpu, address, &word, sizeof word);
}

static void entered(unsigned cpu, void *which)
{
	uint64_t walk;
	cpu = qemu_running(cpu);
	walk = qemu_register(cpu, RDI);
	if (cpu >= PROCESSORS || !is_write_back(word_at(cpu, qemu_register(cpu, RSP))))
		return;
	switch ((uintptr_t)which) {
	case KERNEL_TAG:
		current[cpu].page = current[cpu].huge = 0;
		step(cpu, STEP_TAGS);
		break;
	case KERNEL_FLUSH:
		step(cpu, STEP_FLUSHES);
		break;
	case KERNEL_UNLOCKED:
		look_at(cpu, walk);
		step(cpu, STEP_MEETS);
		if (is_repaired)
			write_word(cpu, walk + XAS_NODE, XAS_RESTART);
		break;
	case KERNEL_CLEAR_MARK:
		look_at(cpu, walk);
		if (qemu_register(cpu, RSI) == TAG_DIRTY) {
			step(cpu, STEP_FLUSHED);
		} else if (qemu_register(cpu, RSI) == TAG_TOWRITE) {
			step(cpu, STEP_LOCKED);
			if (is_repaired) {
				current[cpu].hidden_from = walk;
				current[cpu].node = word_at(cpu, walk + XAS_NODE);
				write_word(cpu, walk + XAS_NODE, XAS_RESTART);
			}
		}
		break;
	}
}

static void unlocked_returned(unsigned cpu, void *unused)
{
	(void)unused;
	cpu = qemu_running(cpu);
	if (cpu < PROCESSORS)
		step(cpu, qemu_register(cpu, RAX) ? STEP_WAITED : STEP_SKIPPED);
}

static void clear_returned(unsigned cpu, void *unused)
{
	(void)unused;
	cpu = qemu_running(cpu);
	if (cpu >= PROCESSORS || !current[cpu].hidden_from)
		return;
	write_word(cpu, current[cpu].hidden_from + XAS_NODE, current[cpu].node);
	current[cpu].hidden_from = 0;
}

static void remember(uint64_t *places, uint64_t place)
{
	for (unsigned i = 0; i < 8; i++)
		if (places[i] == place || places[i] == 0) {
			places[i] = place;
			return;
		}
}

static bool is_among(const uint64_t *places, uint64_t place)
{
	for (unsigned i = 0; i < 8 && places[i]; i++)
		if (places[i] == place)
			return true;
	return false;
}

void kernel_translated(struct qemu_plugin_insn *instruction, uint64_t address, uint64_t call_target, uint64_t next)
{
	if (is_write_back(address)) {
		if (call_target && call_target == functions[KERNEL_UNLOCKED].address)
			remember(behind_unlocked, next);
		else if (call_target && call_target == functions[KERNEL_CLEAR_MARK].address)
			remember(behind_clear, next);
		/* What follows a call is translated when the call returns, not before. */
		if (is_among(behind_unlocked, address))
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, unlocked_returned, REGISTERS_READ, NULL);
		if (is_among(behind_clear, address))
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, clear_returned, REGISTERS_READ, NULL);
		return;
	}
	for (uintptr_t i = 0; i < KERNEL_COUNT; i++)
		if (i != KERNEL_WRITEBACK && address == functions[i].address)
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, entered, REGISTERS_READ, (void *)i);
}
