/* A plugin of QEMU's emulator that records, of one run of a workload in the guest, all that decides what a power cut
 * would leave on the pmem device: each line that is flushed, with its content, each fence, each acknowledgement, and at
 * crash points what is in the cache. Started by scripts/vm --plugin; what a run is the workload says (mark.h).
 *
 * Arguments: directory=DIR where traces go, pmem=ADDRESS size=BYTES offset=BYTES where the device is in the guest and
 * in its memory (scripts/vm adds these).
 *
 * Before the first run only marks are looked for, so that the guest starts as fast as without the plugin. From then on
 * all is watched: QEMU 7.2 keeps pointers into what was translated with callbacks for stores, and does not survive that
 * these are taken away (it is an assertion in plugins/core.c). All processors
 * of the guest must share one thread of QEMU's (-accel tcg,thread=single): nothing here takes a lock. */
#define _GNU_SOURCE
#include "decode.h"
#include "kernel.h"
#include "lines.h"
#include "qemu.h"
#include "record.h"
#include "writers.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define PROCESSORS 16

EXPORT int qemu_plugin_version = API;

static qemu_plugin_id_t id;
static const char *directory;
static uint64_t pmem, size, offset;
static const uint8_t *device;
static uint64_t point_limit, byte_limit;
static struct trace_head head;
static bool is_repaired;
static enum { LOOKING_FOR_MARKS, CHANGING, WATCHING } phase;
static pthread_t thread;

static void translated_watched(qemu_plugin_id_t, struct qemu_plugin_tb *);

/* ---- where addresses lead ----------------------------------------------------------------------------------- */

/* The page that a processor flushed last, and for whom: forgotten whenever the kernel may have changed page tables or
 * the thread. */
static struct last {
	uint64_t page, physical;
	uint32_t writer;
} last_page[PROCESSORS];

static void forget_page(unsigned cpu)
{
	last_page[cpu].page = NOWHERE;
}

/* Where an address leads that is being flushed, and for whom. */
static const struct last *look_up(unsigned cpu, uint64_t address)
{
	struct last *last = &last_page[cpu];
	uint64_t page = address & ~(PAGE - 1ull);
	if (last->page == page)
		return last;
	last->page = page;
	last->physical = qemu_physical(cpu, page);
	last->writer = writer_of(cpu);
	/* QEMU's clwb does nothing and so faults nothing in, where a processor's is a load. */
	if (last->physical == NOWHERE && !(address >> 63)) {
		last->physical = file_at(cpu, page);
		if (last->physical != NOWHERE)
			last->physical += pmem;
	}
	return last;
}

static uint64_t effective(unsigned cpu, const struct operand *operand, uint64_t next)
{
	uint64_t address = (int64_t)operand->displacement;
	if (operand->relative)
		address += next;
	if (operand->base != NO_REGISTER)
		address += qemu_register(cpu, operand->base);
	if (operand->index != NO_REGISTER)
		address += qemu_register(cpu, operand->index) << operand->shift;
	return address;
}

/* An instruction that flushes. Never freed: QEMU does not say when a translation goes. */
struct flush {
	struct operand operand;
	uint64_t next;
	bool at_once;
};

/* ---- a run begins and ends ----------------------------------------------------------------------------------- */

/* What the device holds when the run begins is taken for durable. */
static void record_base(void)
{
	static const uint8_t zero[PAGE];
	for (uint64_t page = 0; page < size / PAGE; page++)
		if (memcmp(device + page * PAGE, zero, PAGE) != 0)
			record_content(TRACE_BASE, 0, 0, page, 0, device + page * PAGE, PAGE);
}

static void start(void)
{
	for (unsigned cpu = 0; cpu < PROCESSORS; cpu++)
		forget_page(cpu);
	head.magic = TRACE_MAGIC;
	head.size = size;
	thread = pthread_self();
	lines_begin(device, size);
	lines_seed(head.seed);
	writers_begin();
	kernel_begin(is_repaired);
	record_begin(directory, &head, byte_limit);
	if (is_recording()) {
		file_extents_record();
		record_base();
	}
}

/* All translated code is gone, and no processor runs. */
static void watch(qemu_plugin_id_t unused)
{
	(void)unused;
	phase = WATCHING;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated_watched);
}

/* The workload asks for it until it is answered. */
static void begin(unsigned cpu, uint64_t run, uint64_t answer)
{
	const uint32_t yes = 1;
	device = qemu_memory(pmem, offset);
	if (phase == LOOKING_FOR_MARKS && device) {
		phase = CHANGING;
		qemu_plugin_reset(id, watch);
		return;
	}
	if (phase == WATCHING && !is_recording()) {
		head.run = run;
		start();
	}
	if (is_recording() && head.run == run)
		qemu_write(cpu, answer, &yes, sizeof yes);
}

static void end(enum trace_end how)
{
	if (is_recording())
		record_end(how, crash_points());
}

/* ---- what the guest does --------------------------------------------------------------------------------------- */

/* What a store's callback is told, in place of a pointer. */
enum { AROUND = 1, BY_KERNEL = 2 };

static void stored(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
	uintptr_t how = (uintptr_t)data;
	struct qemu_plugin_hwaddr *where;
	uint64_t place;
	cpu = qemu_running(cpu);
	/* An instruction that also loads says so here. */
	if (!qemu_plugin_mem_is_store(info) || !is_recording())
		return;
	if (how & BY_KERNEL)
		forget_page(cpu);
	where = qemu_plugin_get_hwaddr(info, address);
	if (!where || qemu_plugin_hwaddr_is_io(where))
		return;
	place = qemu_stored_to(where) - pmem;
	if (place < size)
		line_stored(cpu, place, 1u << qemu_plugin_mem_size_shift(info), how & AROUND);
}

static void flushed(unsigned cpu, void *data)
{
	const struct flush *flush = data;
	uint64_t address, place;
	const struct last *page;
	cpu = qemu_running(cpu);
	address = effective(cpu, &flush->operand, flush->next);
	if (!is_recording())
		return;
	page = look_up(cpu, address);
	place = page->physical + address % PAGE - pmem;
	if (page->physical == NOWHERE || place >= size)
		return;
	if (page->writer != NOBODY)
		writer_flushed(cpu, page->writer, flush->next >> 63, place / LINE);
	line_flushed(cpu, place / LINE, flush->at_once);
}

static void fenced(unsigned cpu, void *unused)
{
	(void)unused;
	cpu = qemu_running(cpu);
	forget_page(cpu);
	if (is_recording())
		line_fence(cpu);
}

static void page_forgotten(unsigned cpu, void *unused)
{
	(void)unused;
	cpu = qemu_running(cpu);
	forget_page(cpu);
}

static void called(unsigned cpu, void *unused)
{
	(void)unused;
	cpu = qemu_running(cpu);
	if (is_recording())
		file_call(cpu);
}

static void acknowledged(unsigned cpu, uint32_t writer, uint64_t number)
{
	if (!is_recording())
		return;
	writer_done(cpu, writer);
	record(TRACE_ACK, cpu, 0, writer, number);
	line_acknowledged(cpu);
	if (crash_points() >= point_limit)
		end(END_BY_POINTS);
	else if (record_is_full())
		end(END_BY_SIZE);
}

static void marked(unsigned cpu, void *unused)
{
	uint64_t rdi, rsi;
	(void)unused;
	cpu = qemu_running(cpu);
	rdi = qemu_register(cpu, RDI);
	rsi = qemu_register(cpu, RSI);
	switch ((enum mark)qemu_register(cpu, RDX)) {
	case MARK_ACK:
		acknowledged(cpu, rdi, rsi);
		break;
	case MARK_TRANSACTION:
		if (!is_recording())
			break;
		if (!pthread_equal(thread, pthread_self())) {
			fprintf(stderr, "powercut plugin: QEMU must run with -accel tcg,thread=single\n");
			exit(1);
		}
		writer_is(cpu, rsi & 0xffff);
		record(TRACE_TRANSACTION, cpu, rdi, rsi & 0xffff, rsi >> 16);
		break;
	case MARK_EXTENT:
		file_extent(rdi, rsi >> 32, rsi & 0xffffffff);
		break;
	case MARK_MAPPED:
		file_mapped(cpu, rdi, rsi >> 32, rsi & 0xffffffff);
		break;
	case MARK_SYMBOL:
		kernel_symbol(rsi >> 32, rdi, rsi & 0xffffffff);
		break;
	case MARK_DENSITY:
		lines_density(rdi, rsi);
		break;
	case MARK_LIMIT:
		point_limit = rdi;
		byte_limit = rsi << 20;
		break;
	case MARK_SEED:
		head.seed = rdi;
		is_repaired = rsi;
		break;
	case MARK_BEGIN:
		begin(cpu, rdi, rsi);
		break;
	case MARK_END:
		end(END_OF_WORKLOAD);
		break;
	}
}

/* ---- translation ----------------------------------------------------------------------------------------------- */

static void translated_unwatched(qemu_plugin_id_t unused, struct qemu_plugin_tb *block)
{
	(void)unused;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
		struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
		uint8_t code[16];
		if (qemu_plugin_insn_size(instruction) != 8)
			continue;
		if (decode(code, qemu_code(instruction, code)).what == MARK)
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, marked, REGISTERS_READ, NULL);
	}
}

static void translated_watched(qemu_plugin_id_t unused, struct qemu_plugin_tb *block)
{
	(void)unused;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
		struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
		uint8_t code[16];
		size_t length = qemu_code(instruction, code);
		struct decoded decoded = decode(code, length);
		uint64_t address = qemu_plugin_insn_vaddr(instruction), next = address + length, target = 0;
		uintptr_t how = address >> 63 ? BY_KERNEL : 0;
		struct flush *flush;

		switch (decoded.what) {
		case WRITE_BACK:
		case FLUSH:
			flush = malloc(sizeof *flush);
			if (!flush)
				abort();
			*flush = (struct flush){decoded.operand, next, decoded.what == FLUSH};
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, flushed, REGISTERS_READ, flush);
			break;
		case FENCE:
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, fenced, REGISTERS_NOT_READ, NULL);
			break;
		case FORGET_PAGE:
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, page_forgotten, REGISTERS_NOT_READ, NULL);
			break;
		case SYSTEM_CALL:
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, called, REGISTERS_READ, NULL);
			break;
		case MARK:
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, marked, REGISTERS_READ, NULL);
			break;
		case STORE_AROUND:
			how |= AROUND;
			break;
		case CALL:
			target = next + decoded.target;
			break;
		case OTHER:
			break;
		}
		if (address >> 63)
			kernel_translated(instruction, address, target, next);
		qemu_plugin_register_vcpu_mem_cb(instruction, stored, REGISTERS_NOT_READ, MEMORY_WRITTEN, (void *)how);
	}
}

/* ---- start and end of QEMU --------------------------------------------------------------------------------------- */

static void processor_starts(qemu_plugin_id_t unused, unsigned cpu)
{
	(void)unused;
	qemu_processor(cpu);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t given, const struct qemu_info *info, int argc, char **argv)
{
	id = given;
	for (int i = 0; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		if (value && strncmp(argv[i], "directory=", 10) == 0)
			directory = strdup(value + 1);
		else if (value && strncmp(argv[i], "pmem=", 5) == 0)
			pmem = strtoull(value + 1, NULL, 0);
		else if (value && strncmp(argv[i], "size=", 5) == 0)
			size = strtoull(value + 1, NULL, 0);
		else if (value && strncmp(argv[i], "offset=", 7) == 0)
			offset = strtoull(value + 1, NULL, 0);
		else {
			fprintf(stderr, "powercut plugin: unknown argument '%s'\n", argv[i]);
			return 1;
		}
	}
	if (!directory || !pmem || !size || !offset || strcmp(info->target_name, "x86_64") != 0) {
		fprintf(stderr, "powercut plugin: it needs directory, pmem, size and offset, and an x86_64 guest\n");
		return 1;
	}
	if (!qemu_look_up())
		return 1;
	qemu_plugin_register_vcpu_init_cb(id, processor_starts);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated_unwatched);
	return 0;
}
