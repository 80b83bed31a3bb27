/* The program closes the descriptor while fsync is at work with it: 0 as if that had come later, or
 * EBADF as if it had come before, and nothing else. A signal handler does it, after this many
 * instructions. */
#include "common.h"
#include "interrupted.h"

#define RW (PROT_READ | PROT_WRITE)
#define NEVER LONG_MAX

static int (*fsync_)(int);
static int fd;
static long until, seen;

static void handler(int signal UNUSED, siginfo_t *info UNUSED, void *context)
{
	seen++;
	if (seen >= until)
		raw(SYS_close, fd);
	if (seen >= until || blocks_signals(context))
		leave_alone(context);
}

static int interrupted_after(long instructions)
{
	fd = open("file", O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	p[0] = p[3 * PAGE] = '!';
	until = instructions;
	seen = 0;
	INTERRUPT_EACH_INSTRUCTION();
	int result = fsync_(fd);
	__asm__ volatile("sub $128, %%rsp; pushfq; andq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::"i"(~TRAP_FLAG)
	                 : "cc", "memory");
	int error = result ? errno : 0;
	raw(SYS_close, fd);
	munmap(p, 4 * PAGE);
	return error;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	fsync_ = symbol;
	keep = true;
	handle_traps(handler);
	STEP(interrupted_after(NEVER) == 0, "undisturbed");
	long all = seen, stride = all / (runs_fast() ? 100 : 20) + 1;
	long synced = 0, closed = 0, strange = 0;
	for (long n = 1; n < all + stride; n += stride) {
		int error = interrupted_after(n);
		if (error == 0)
			synced++;
		else if (error == EBADF)
			closed++;
		else
			strange++;
	}
	STEP(synced > 0, "synced");
	STEP(closed > 0, "closed before");
	STEP(strange, "other answers");
	return end();
}
