/* Handlers leave flushes by siglongjmp, each amid the write-backs, and never come back. What a munmap then costs is
 * counted by tests/traced.rs, between the two breakpoints. Started as PROGRAM SYMBOL DIR COUNT WHO. */
#include "common.h"
#include "interrupted.h"
#include <setjmp.h>

#define RW (PROT_READ | PROT_WRITE)

static char *p;
static int count;
static const char *who;
static sigjmp_buf back;
static volatile int left;

/* clwb, clflushopt, clflush: 66 0F AE /6, 66 0F AE /7, 0F AE /7, of memory. */
static bool writes_back(const unsigned char *next)
{
	bool prefixed = *next == 0x66;
	next += prefixed;
	if (next[0] >> 4 == 4) /* REX */
		next++;
	int operation = next[2] >> 3 & 7;
	return next[0] == 0x0f && next[1] == 0xae && next[2] < 0xc0 && (operation == 7 || (prefixed && operation == 6));
}

static void leave(int signal UNUSED, siginfo_t *info UNUSED, void *context)
{
	ucontext_t *interrupted = context;
	if (writes_back((const unsigned char *)interrupted->uc_mcontext.gregs[REG_RIP])) {
		left++;
		siglongjmp(back, 1);
	}
	if (blocks_signals(context))
		leave_alone(context);
}

static void leave_flushes(void)
{
	for (volatile int i = 0; i < count; i++) {
		if (sigsetjmp(back, 1))
			continue;
		INTERRUPT_EACH_INSTRUCTION();
		msync(p, 4 * PAGE, MS_SYNC);
		__asm__ volatile("pushfq; andq %0, (%%rsp); popfq" ::"i"(~TRAP_FLAG) : "cc", "memory");
	}
}

static int ready[2], over[2];

static void *leaver(void *unused UNUSED)
{
	char byte;
	leave_flushes();
	if (strcmp(who, "thread that ends")) {
		if (write(ready[1], "", 1) != 1 || read(over[0], &byte, 1) < 0)
			die("pipe");
	}
	return NULL;
}

/* Between the breakpoints: two munmaps, of another mapping and of the flushed one. */
static void unmap_both(void)
{
	int fd = open("file", O_RDWR);
	char *q = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	__asm__ volatile("int3" ::"D"(q), "S"(left), "d"(0L) : "memory");
	long result = munmap(q, 4 * PAGE) || munmap(p, PAGE) ? errno : 0;
	__asm__ volatile("int3" ::"a"(result) : "memory");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	if (argc < 5)
		return 2;
	count = atoi(argv[3]);
	who = argv[4];
	int fd = open("file", O_RDWR);
	p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	memset(p, '!', 4 * PAGE);
	/* The first msync of a mapping finds it, and flushes elsewhere. */
	if (msync(p, 4 * PAGE, MS_SYNC) || pipe(ready) || pipe(over))
		die("set-up");
	handle_traps(leave);
	pthread_t thread;
	char byte;
	if (!strcmp(who, "thread that unmaps"))
		leave_flushes();
	else if (pthread_create(&thread, NULL, leaver, NULL))
		die("pthread_create");
	else if (!strcmp(who, "thread that ends"))
		pthread_join(thread, NULL);
	else if (read(ready[0], &byte, 1) != 1)
		die("pipe");
	unmap_both();
	return end();
}
