/* longjmp and its kin: from a function, out of a signal handler, within one, out of one on a stack of its own, and
 * out of one that has interrupted syncs. */
#include "common.h"
#include <setjmp.h>

static void (*longjmp_)(struct __jmp_buf_tag *, int) __attribute__((noreturn));
static sigjmp_buf target, inner;
static bool within;
static char *p;

static void __attribute__((noinline)) jumps(int value)
{
	longjmp_(target, value);
}

static void handler(int signal UNUSED)
{
	if (within) {
		if (!sigsetjmp(inner, 1))
			longjmp_(inner, 1);
		msync(p, PAGE, MS_SYNC);
		return;
	}
	jumps(2);
}

/* What the jump brings. */
static int __attribute__((noinline)) by(void (*how)(int), int value)
{
	int came = sigsetjmp(target, 1);
	if (!came)
		how(value);
	return came;
}

static void raises(int signal)
{
	raise(signal);
}

static void syncs(int times UNUSED)
{
	struct itimerval soon = {{0, 0}, {0, 200}};
	setitimer(ITIMER_REAL, &soon, NULL);
	for (;;)
		msync(p, 4 * PAGE, MS_SYNC);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	longjmp_ = symbol;
	int fd = open("file", O_RDWR);
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	STEP(by(jumps, 3), "from a function");
	STEP(by(jumps, 0), "with 0, which becomes 1");
	static char stack[64 << 10];
	for (int own = 0; own < 2; own++) {
		if (own)
			sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
		struct sigaction action = {.sa_handler = handler, .sa_flags = own ? SA_ONSTACK : 0};
		sigaction(SIGUSR1, &action, NULL);
		sigaction(SIGALRM, &action, NULL);
		STEP(by(raises, SIGUSR1), "out of a handler");
		within = true;
		STEP(by(raises, SIGUSR1), "within a handler");
		within = false;
		for (int i = 0; i < 3; i++)
			STEP(by(syncs, 0), "out of a handler that has interrupted syncs");
		STEP(msync(p, 4 * PAGE, MS_SYNC), "a sync afterwards");
		STEP(mprotect(p, PAGE, PROT_NONE) + msync(p, 4 * PAGE, MS_SYNC) + mprotect(p, PAGE, PROT_READ | PROT_WRITE),
		     "of what cannot be read");
	}
	STEP(munmap(p, 4 * PAGE), "unmapped");
	return end();
}
