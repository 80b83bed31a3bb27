/* System call filters that kill for whatever the program itself does not do. */
#ifndef FILTERS_H
#define FILTERS_H

#include "common.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#define ALLOW(name)                                                                                                    \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define BEGIN BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define FILTER(list) ((struct sock_fprog){sizeof list / sizeof *list, list})

/* One line, by write(2) alone. */
static void UNUSED __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	char line[160];
	va_list list;
	va_start(list, format);
	int length = vsnprintf(line, sizeof line, format, list);
	va_end(list);
	write(1, line, length);
}

/* Calls, and says what came of it. */
#define SAY(call, what)                                                                                                \
	do {                                                                                                           \
		errno = NO_ERROR;                                                                                      \
		long said_ = (long)(call);                                                                             \
		const char *error_ = said_ == -1 ? strerrorname_np(errno) : "";                                        \
		say("%s: %s = %ld %s\n", stage, what, said_, error_ ? error_ : "");                                    \
	} while (0)
static const char *UNUSED stage = "";

#endif
