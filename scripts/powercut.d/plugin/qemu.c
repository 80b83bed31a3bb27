/* What the plugin interface lacks or has differently from version to version. Debian's QEMU exports its functions (it
 * loads parts of itself as modules), so that these can be looked up:
 *
 * - No version can say where a virtual address lies that nothing was loaded from or stored to: QEMU's clwb does
 *   neither. cpu_get_phys_page_attrs_debug walks the guest's page table.
 * - Version 1 cannot read registers, 2 and later can. For version 1 the debugger's function serves.
 * - Version 1 declares its callbacks as ones that read no registers of the guest, whatever they were registered with
 *   (accel/tcg/plugin-helpers.h: TCG_CALL_NO_RWG), so QEMU does not store them where the debugger's function would
 *   find them. The flag is taken back before the first code is translated.
 * - Version 1 gives offsets into QEMU's memory in place of guest-physical addresses.
 * - Version 4 tells a callback the processor that translated the code, not the one that runs it, where all processors
 *   share a thread (gen_cpu_index in accel/tcg/plugin-gen.c). QEMU's current_cpu is the one that runs.
 * - From version 3 on the bytes of an instruction are copied. */
#define _GNU_SOURCE
#include "qemu.h"
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* GLib's, as far as it is used. */
struct byte_array {
	uint8_t *data;
	unsigned length;
};

static struct {
	void *(*get_cpu)(int);
	uint64_t (*physical)(void *cpu, uint64_t address, void *attributes);
	int (*access)(void *cpu, uint64_t address, void *data, uint64_t length, bool is_write);
	void *(*block_by_name)(const char *);
	void *(*block_host)(void *);
	uint64_t (*block_offset)(void *);
	struct byte_array *(*new_array)(void);
	struct byte_array *(*set_size)(struct byte_array *, unsigned);
	int (*read_register)(void *cpu, struct byte_array *, int);
} qemu;
static struct byte_array *value;
/* What turns an offset into QEMU's memory into a guest-physical address. */
static uint64_t physical_minus_offset;

static void *look_up(const char *name)
{
	void *found = dlsym(RTLD_DEFAULT, name);
	if (!found)
		fprintf(stderr, "powercut plugin: this QEMU does not export %s\n", name);
	return found;
}

#if API == 1
/* Finds TCGHelperInfo { func, name, flags, ... } of the callbacks by the name, and clears
 * TCG_CALL_NO_READ_GLOBALS in its flags. */
static int let_callbacks_read_registers(struct dl_phdr_info *object, size_t size, void *done)
{
	enum { NO_READ_GLOBALS = 1 };
	static const char name[] = "\0plugin_vcpu_udata_cb";
	const char *found = NULL;
	(void)size;
	if (object->dlpi_name && object->dlpi_name[0])
		return 0;
	for (int i = 0; i < object->dlpi_phnum && !found; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		if (part->p_type == PT_LOAD && !(part->p_flags & PF_W))
			found = memmem((char *)object->dlpi_addr + part->p_vaddr, part->p_memsz, name, sizeof name);
	}
	for (int i = 0; i < object->dlpi_phnum && found; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		uint64_t *word = (uint64_t *)(object->dlpi_addr + part->p_vaddr);
		if (part->p_type != PT_LOAD || !(part->p_flags & PF_W))
			continue;
		for (uint64_t *end = word + part->p_filesz / sizeof *word; word < end; word++) {
			uint32_t *flags = (uint32_t *)(word + 1);
			if (*word != (uint64_t)(found + 1) || !(*flags & NO_READ_GLOBALS))
				continue;
			if (mprotect((void *)((uintptr_t)flags & ~4095ul), 8192, PROT_READ | PROT_WRITE) == 0) {
				*flags &= ~NO_READ_GLOBALS;
				++*(int *)done;
			}
		}
	}
	return 1;
}
#endif

bool qemu_look_up(void)
{
	bool found = (qemu.get_cpu = look_up("qemu_get_cpu")) != NULL;
	found &= (qemu.physical = look_up("cpu_get_phys_page_attrs_debug")) != NULL;
	found &= (qemu.access = look_up("cpu_memory_rw_debug")) != NULL;
	found &= (qemu.block_by_name = look_up("qemu_ram_block_by_name")) != NULL;
	found &= (qemu.block_host = look_up("qemu_ram_get_host_addr")) != NULL;
	found &= (qemu.block_offset = look_up("qemu_ram_get_offset")) != NULL;
	found &= (qemu.new_array = look_up("g_byte_array_new")) != NULL;
	found &= (qemu.set_size = look_up("g_byte_array_set_size")) != NULL;
#if API == 1
	found &= (qemu.read_register = look_up("x86_cpu_gdb_read_register")) != NULL;
	int done = 0;
	if (found)
		dl_iterate_phdr(let_callbacks_read_registers, &done);
	if (found && done == 0) {
		fprintf(stderr, "powercut plugin: this QEMU has no description of plugin_vcpu_udata_cb that can be changed\n");
		return false;
	}
#endif
	if (found)
		value = qemu.new_array();
	return found;
}

uint8_t *qemu_memory(uint64_t address, uint64_t offset)
{
	void *block = qemu.block_by_name("pc.ram");
	if (!block)
		return NULL;
	physical_minus_offset = address - (qemu.block_offset(block) + offset);
	return (uint8_t *)qemu.block_host(block) + offset;
}

uint64_t qemu_physical(unsigned cpu, uint64_t address)
{
	uint32_t attributes[8] = {0};
	uint64_t page = qemu.physical(qemu.get_cpu(cpu), address & ~4095ull, attributes);
	return page == NOWHERE ? NOWHERE : (page & ~4095ull) | (address & 4095);
}

bool qemu_read(unsigned cpu, uint64_t address, void *into, size_t length)
{
	return qemu.access(qemu.get_cpu(cpu), address, into, length, false) == 0;
}

bool qemu_write(unsigned cpu, uint64_t address, const void *from, size_t length)
{
	return qemu.access(qemu.get_cpu(cpu), address, (void *)from, length, true) == 0;
}

static uint64_t first_word(void)
{
	uint64_t word = 0;
	if (value->length >= sizeof word)
		memcpy(&word, value->data, sizeof word);
	return word;
}

#if API == 1

size_t qemu_code(const struct qemu_plugin_insn *instruction, uint8_t bytes[16])
{
	const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
	size_t length = qemu_plugin_insn_size(instruction);
	length = length > 15 ? 15 : length;
	memcpy(bytes, qemu_plugin_insn_data(instruction), length);
	return length;
}

void qemu_processor(unsigned cpu)
{
	(void)cpu;
}

unsigned qemu_running(unsigned cpu)
{
	return cpu;
}

uint64_t qemu_register(unsigned cpu, unsigned which)
{
	/* target/i386/gdbstub.c: rax rbx rcx rdx rsi rdi rbp rsp r8 ... r15, rip, flags, six segments, then fs_base,
	 * gs_base, k_gs_base, cr0, cr2, cr3. */
	static const int order[REGISTERS] = {0, 2, 3, 1, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 24, 29};
	qemu.set_size(value, 0);
	qemu.read_register(qemu.get_cpu(cpu), value, order[which]);
	return first_word();
}

uint64_t qemu_stored_to(const struct qemu_plugin_hwaddr *address)
{
	return qemu_plugin_hwaddr_phys_addr(address) + physical_minus_offset;
}

#else

#define PROCESSORS 16
struct descriptor {
	void *handle;
	const char *name, *feature;
};
struct array {
	struct descriptor *data;
	unsigned length;
};
struct array *qemu_plugin_get_registers(void);
int qemu_plugin_read_register(void *, struct byte_array *);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *, size_t);
static void *handles[PROCESSORS][REGISTERS];
static unsigned processors;

size_t qemu_code(const struct qemu_plugin_insn *instruction, uint8_t bytes[16])
{
	size_t length = qemu_plugin_insn_size(instruction);
	return qemu_plugin_insn_data(instruction, bytes, length > 15 ? 15 : length);
}

void qemu_processor(unsigned cpu)
{
	static const char *const names[REGISTERS] = {"rax", "rcx", "rdx", "rbx", "rsp",     "rbp",
						     "rsi", "rdi", "r8",  "r9",  "r10",     "r11",
						     "r12", "r13", "r14", "r15", "fs_base", "cr3"};
	struct array *all = qemu_plugin_get_registers();
	if (cpu >= processors)
		processors = cpu + 1;
	for (unsigned i = 0; i < all->length; i++)
		for (unsigned k = 0; k < REGISTERS; k++)
			if (cpu < PROCESSORS && strcmp(all->data[i].name, names[k]) == 0)
				handles[cpu][k] = all->data[i].handle;
}

unsigned qemu_running(unsigned cpu)
{
	static _Thread_local void **current;
	if (!current)
		current = look_up("current_cpu");
	for (unsigned each = 0; current && each < processors; each++)
		if (qemu.get_cpu(each) == *current)
			return each;
	return cpu;
}

uint64_t qemu_register(unsigned cpu, unsigned which)
{
	qemu.set_size(value, 0);
	if (cpu < PROCESSORS && handles[cpu][which])
		qemu_plugin_read_register(handles[cpu][which], value);
	return first_word();
}

uint64_t qemu_stored_to(const struct qemu_plugin_hwaddr *address)
{
	return qemu_plugin_hwaddr_phys_addr(address);
}

#endif
