/* A signal handler writes while it interrupts hooks: nothing slips past, nothing is refused wrongly.
 * It runs after each instruction; a million times where something could slip past. */
#include "common.h"
#include "interrupted.h"

static char *map(int fd, int prot, int flags, long pages, long offset)
{
	char *p = mmap(NULL, pages * PAGE, prot, flags, fd, offset);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

#define RW (PROT_READ | PROT_WRITE)

static int fd, plain;
static char *p;
static volatile long handled, refused, passed, failed, plain_failed, loops;
static long wanted;

static void count(long result)
{
	if (result == -1 && errno == EPERM)
		refused++;
	else if (result == 4)
		passed++;
}

/* One of them each time, so that a million do not take for ever. */
static void handler(int signal UNUSED, siginfo_t *info UNUSED, void *context)
{
	int saved = errno;
	switch (handled % 4) {
	case 0:
		count(pwrite(fd, "WXYZ", 4, 0));
		break;
	case 1:
		count(ftruncate(fd, FILE_SIZE) ? -1 : 4);
		break;
	case 2:
		if (msync(p, PAGE, MS_SYNC))
			failed++;
		break;
	case 3:
		if (pwrite(plain, "p", 1, 0) != 1)
			plain_failed++;
	}
	if (++handled >= wanted || blocks_signals(context))
		leave_alone(context);
	errno = saved;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	fd = open("file", O_RDWR);
	plain = open("plain", O_RDWR);
	p = map(fd, RW, MAP_SHARED, 4, 0);
	bool is_tagged = ftruncate(fd, FILE_SIZE) == -1;
	wanted = !runs_fast() ? 5000 : is_tagged ? 1000000 : 50000;
	handle_traps(handler);
	while (handled < wanted) {
		loops++;
		INTERRUPT_EACH_INSTRUCTION();
		int other = open(loops % 2 ? "file" : "plain", O_RDWR);
		count(loops % 2 ? write(other, "WXYZ", 4) : 0);
		close(other);
		char *q = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
		INTERRUPT_EACH_INSTRUCTION();
		if (q == MAP_FAILED || msync(q, 4 * PAGE, MS_SYNC) || munmap(q, 4 * PAGE))
			failed++;
	}
	STEP(handled >= wanted, "the handler ran");
	STEP(refused > 0, "calls were refused");
	STEP(passed > 0, "calls slipped past");
	STEP(failed, "failures of what must work");
	STEP(plain_failed, "false refusals");
	return end();
}
