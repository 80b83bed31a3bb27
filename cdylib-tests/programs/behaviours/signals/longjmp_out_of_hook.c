/* A signal handler that interrupted a hook leaves by longjmp, from each place in turn: nothing stays
 * locked or half done. */
#include "common.h"
#include "interrupted.h"
#include <setjmp.h>

#define ENOUGH (1L << 40)

static sigjmp_buf back;
static volatile long left, jumps, refused, passed, failed;

static void handler(int signal UNUSED, siginfo_t *info UNUSED, void *context)
{
	if (left-- == 0) {
		jumps++;
		siglongjmp(back, 1);
	}
	if (left > ENOUGH || blocks_signals(context))
		leave_alone(context);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	const long stride = runs_fast() ? 53 : 503;
	int fd = open("file", O_RDWR), plain = open("plain", O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	handle_traps(handler);
	for (volatile long from = 0, before = -1; jumps > before; from += stride) {
		before = jumps;
		left = from;
		if (sigsetjmp(back, 1))
			continue;
		INTERRUPT_EACH_INSTRUCTION();
		if (pwrite(fd, "WXYZ", 4, 0) == 4)
			passed++;
		else
			refused++;
		if (pwrite(plain, "p", 1, 0) != 1 || ftruncate(plain, PLAIN_SIZE) || msync(p, 4 * PAGE, MS_SYNC))
			failed++;
		if (closing(open("plain", O_RDWR)) < 0)
			failed++;
		left = 2 * ENOUGH;
		fsync(fd);
	}
	STEP(jumps > 1, "it jumped");
	STEP(refused > 0, "calls were refused");
	STEP(passed > 0, "calls slipped past");
	STEP(failed, "failures of what must work");
	STEP(pwrite(plain, "p", 1, 0), "pwrite to plain");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync");
	STEP(mprotect(p, PAGE, PROT_READ), "mprotect");
	STEP(munmap(p, 4 * PAGE), "munmap");
	return end();
}
