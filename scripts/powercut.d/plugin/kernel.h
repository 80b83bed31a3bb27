/* The kernel's DAX write-back, watched step by step. */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stdint.h>

struct qemu_plugin_insn;

void kernel_begin(bool repaired);
void kernel_symbol(unsigned which, uint64_t address, uint64_t length);
/* To be called for every instruction of the kernel that is translated while a run is recorded. */
void kernel_translated(struct qemu_plugin_insn *instruction, uint64_t address, uint64_t call_target, uint64_t next);

#endif
