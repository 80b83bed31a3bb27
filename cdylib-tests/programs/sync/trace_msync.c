/* One call of msync between two breakpoints, for the tracer of tests/flush.rs: the first shows it
 * the address, the length and the address after the last byte of the file, the second the result.
 * Started as PROGRAM SYMBOL DIR CASE. */
#include "common.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>

#define RW (PROT_READ | PROT_WRITE)

static int protection = RW;
static int fd; /* of the last mapping */
static bool keep_open;

static char *map(void *at, const char *name, long pages, long offset)
{
	fd = open(name, O_RDWR);
	char *p = mmap(at, pages * PAGE, protection, MAP_SHARED | (at ? MAP_FIXED : 0), fd, offset * PAGE);
	if (p == MAP_FAILED)
		die("mmap");
	if (!keep_open)
		close(fd);
	return p;
}

/* In place of sync_file_range: the number is the file's again, and mapped from, for all to see. */
static void reopen(int signal UNUSED, siginfo_t *info UNUSED, void *context)
{
	int number = fd;
	close(number);
	map(NULL, "large", 256, 0);
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = fd == number ? 0 : -EBADF;
}

static void reopen_during_sync_file_range(void)
{
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sync_file_range, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	struct sigaction action = {.sa_sigaction = reopen, .sa_flags = SA_SIGINFO};
	sigaction(SIGSYS, &action, NULL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

static int wait_in_clone(void *unused UNUSED)
{
	raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
	return 0;
}

static void *wait_in_thread(void *unused UNUSED)
{
	for (;;)
		pause();
	return 0;
}

/* Who may be at the file, too; they end with the program. */
static void make_others(const char *how)
{
	static char stack[1 << 16] __attribute__((aligned(16)));
	pthread_t thread;
	pid_t child = 0;
	if (!how)
		return;
	if (!strcmp(how, ", thread") && pthread_create(&thread, NULL, wait_in_thread, NULL))
		die("pthread_create");
	if (!strcmp(how, ", cloned"))
		child = clone(wait_in_clone, stack + sizeof stack, CLONE_VM | CLONE_FILES | SIGCHLD, NULL);
	if (!strcmp(how, ", forked") && (child = fork()) == 0)
		wait_in_clone(NULL);
	if (child < 0)
		die("fork");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*msync_)(void *, size_t, int) = symbol;
	const char *which = argc > 3 ? argv[3] : "";
	if (!strcmp(which, "mapped write only"))
		protection = PROT_WRITE;
	bool reopened = !strcmp(which, "reopened"), stale = !strcmp(which, "stale") || reopened;
	bool kept = !strncmp(which, "kept", 4), large = strstr(which, "large") || kept || stale;
	bool of_data = !strncmp(which, "fdatasync", 9), by_descriptor = of_data || !strncmp(which, "fsync", 5);
	keep_open = by_descriptor || kept || stale;
	long pages = large ? 256 : !strcmp(which, "tail") ? 8 : 4;
	long stored = !strcmp(which, "tail") ? 2 : pages;
	char *p = map(NULL, large ? "large" : !strcmp(which, "tail") ? "tail" : "file", pages, 0);
	char *from = p, *eof = p + pages * PAGE;
	size_t length = pages * PAGE;

	if (!strcmp(which, "tail"))
		eof = p + PAGE + 100;
	if (strstr(which, "pieces")) {
		keep_open = false;
		for (long i = 0; i < pages; i += pages / 4)
			map(p + i * PAGE, "large", pages / 4, i);
	}
	if (strstr(which, "pieces apart")) /* as records they differ */
		madvise(p + pages / 2 * PAGE, pages / 4 * PAGE, MADV_DONTFORK);
	if (!strcmp(which, "adjacent"))
		map(p + 2 * PAGE, "file", 2, 0); /* another mapping, of pages 0 and 1 */
	for (long i = 0; i < stored; i++)
		p[i * PAGE + 64 * (i % 2)] = '!';
	bool again = !strncmp(which, "again", 5);
	if (!strcmp(which, "page") || !strcmp(which, "byte") || again)
		from = p + PAGE;
	if (!strcmp(which, "page") || again)
		length = PAGE;
	/* The first in a mapping finds it, those that follow know it. */
	if (again && msync_(from, length, MS_SYNC))
		die("msync");
	if (!strcmp(which, "again, hole"))
		munmap(from, PAGE);
	if (!strcmp(which, "byte"))
		length = 1;
	if (!strcmp(which, "pages"))
		length = 3 * PAGE - 5;
	if (by_descriptor && strstr(which, "part"))
		munmap(p + 3 * PAGE, PAGE);
	if (stale) {
		/* Another file under the number, and nobody saw it coming. */
		int other = open("plain", O_RDWR);
		raw(SYS_dup2, other, fd);
	}
	if (reopened)
		reopen_during_sync_file_range();
	if (!strcmp(which, "hole"))
		munmap(p + PAGE, PAGE);
	if (strstr(which, "unreadable piece")) {
		keep_open = false;
		protection = PROT_NONE;
		map(p, "large", 4, 0);
		protection = RW;
		map(p + 4 * PAGE, "large", 4, 4);
	} else if (strstr(which, "unreadable"))
		mprotect(p + (pages - 1) * PAGE, PAGE, PROT_NONE);
	if (!strcmp(which, "prot none"))
		mprotect(p + PAGE, PAGE, PROT_NONE);
	if (!strcmp(which, "read only"))
		mprotect(p, length, PROT_READ);
	if (!strcmp(which, "write only"))
		mprotect(p, length, PROT_WRITE);
	if (!strcmp(which, "remapped"))
		remap_file_pages(p + PAGE, PAGE, 0, 3, 0); /* shared, and not MAP_SYNC */
	if (!strcmp(which, "reserved"))
		mmap(p + PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	make_others(strchr(which, ','));

	__asm__ volatile("int3" ::"D"(from), "S"(length), "d"(eof) : "memory");
	long result = of_data ? fdatasync(fd) : by_descriptor ? fsync(fd) : msync_(from, length, MS_SYNC);
	result = result ? errno : 0;
	__asm__ volatile("int3" ::"a"(result) : "memory");
	return end();
}
