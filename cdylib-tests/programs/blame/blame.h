/* What the programs for `daxshim check --blame` share: each leaves lines that were never synced, stored to
 * first by the function `writer`, whatever it does besides. */
#ifndef BLAME_H
#define BLAME_H

#include "../check/check.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <ucontext.h>

static UNUSED NOINLINE void writer(char *p)
{
	p[100] ^= 1;
}

static UNUSED NOINLINE void later(char *p)
{
	p[200] ^= 1;
}

/* A page that nobody may touch. */
static UNUSED char *forbidden(void)
{
	char *p = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(p != MAP_FAILED, "mmap");
	return p;
}

static UNUSED void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
	sigfillset(&action.sa_mask);
	must(sigaction(signal, &action, NULL) == 0, "sigaction");
}

#endif
