/* A signal after each single instruction (the processor's trap flag): whatever a hook is in the midst
 * of, its handler runs there, the same way every time. */
#ifndef INTERRUPTED_H
#define INTERRUPTED_H

#include <ucontext.h>

#define TRAP_FLAG 0x100

/* From here on, until the program gets to block signals, where a trap would end it. */
#define INTERRUPT_EACH_INSTRUCTION()                                                                                   \
	__asm__ volatile("sub $128, %%rsp; pushfq; orq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::"i"(TRAP_FLAG)     \
	                 : "cc", "memory")

/* In the handler: whether the next instruction is a system call that may block signals. */
static bool blocks_signals(ucontext_t *context)
{
	greg_t *registers = context->uc_mcontext.gregs;
	const unsigned char *next = (const unsigned char *)registers[REG_RIP];
	return next[0] == 0x0f && next[1] == 0x05 && registers[REG_RAX] == SYS_rt_sigprocmask;
}

static void leave_alone(ucontext_t *context)
{
	context->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

static void handle_traps(void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigaction(SIGTRAP, &action, NULL);
}

#endif
