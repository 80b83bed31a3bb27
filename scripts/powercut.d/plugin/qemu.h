/* What the plugin wants of QEMU: the part of the plugin interface that is the same in QEMU 7.2 (version 1, Debian 12)
 * and 10.0 (version 4, Debian 13), and, in qemu.c, what is not in it or differs. Debian ships no qemu-plugin.h in 7.2,
 * so the declarations are here. */
#ifndef QEMU_H
#define QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef API
#error "-DAPI=1 for QEMU 7.2, -DAPI=4 for QEMU 10.0"
#endif

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;
struct qemu_info {
	const char *target_name;
	struct {
		int min, cur;
	} version;
	bool system_emulation;
	struct {
		int smp_vcpus, max_vcpus;
	} system;
};
enum { REGISTERS_NOT_READ, REGISTERS_READ };
enum { MEMORY_WRITTEN = 2 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
				      void (*)(unsigned, qemu_plugin_meminfo_t, uint64_t, void *), int, int, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, unsigned));
void qemu_plugin_reset(qemu_plugin_id_t, void (*)(qemu_plugin_id_t));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t, uint64_t);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *);
void qemu_plugin_outs(const char *);

#define NOWHERE (~0ull)

/* General registers in the order of their encoding, then these. */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, FS_BASE = 16, CR3, REGISTERS };

/* Finds what is needed in this QEMU, or says on stderr what is missing. */
bool qemu_look_up(void);
/* To be called for each processor of the guest. */
void qemu_processor(unsigned cpu);
/* Which processor runs, of a callback that was told it is `cpu`. */
unsigned qemu_running(unsigned cpu);
/* Where the guest's memory from the address on, which lies `offset` bytes behind its beginning, is in this process;
 * or NULL. The machine must exist. */
uint8_t *qemu_memory(uint64_t address, uint64_t offset);
/* The bytes of an instruction, and how many are valid. */
size_t qemu_code(const struct qemu_plugin_insn *, uint8_t bytes[16]);
uint64_t qemu_register(unsigned cpu, unsigned which);
/* The guest-physical address, or NOWHERE. */
uint64_t qemu_physical(unsigned cpu, uint64_t address);
/* The guest-physical address that a store went to. */
uint64_t qemu_stored_to(const struct qemu_plugin_hwaddr *);
/* Guest memory as the processor sees it. */
bool qemu_read(unsigned cpu, uint64_t address, void *into, size_t length);
bool qemu_write(unsigned cpu, uint64_t address, const void *from, size_t length);

#endif
