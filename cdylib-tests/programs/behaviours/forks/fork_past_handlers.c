/* Children that no handler of libc's is told of, by the system calls and by _Fork: what they unmap, protect or
 * map over is seen, though a thread that is not there any more was in the middle of changing the record. */
#include "common.h"

#define RW (PROT_READ | PROT_WRITE)
enum { MAPPED = 4, CHILDREN = 200 };

static int fd, plain;
static bool is_refused; /* MADV_REMOVE, by the tag */
static char *p;
static volatile bool done;
static int (*needs_msync)(const void *, size_t);

static pid_t by_fork(void) { return raw(SYS_fork); }
static pid_t by_clone(void) { return raw(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
static pid_t by_symbol(void) { return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
static pid_t by_Fork(void)
{
	pid_t (*fork_)(void) = dlsym(RTLD_DEFAULT, "_Fork"); /* from glibc 2.34 on */
	return fork_ ? fork_() : raw(SYS_fork);
}

static const struct {
	const char *name;
	pid_t (*fork)(void);
} WAYS[] = {{"fork", by_fork}, {"clone", by_clone}, {"syscall", by_symbol}, {"_Fork", by_Fork}};

static char *map(void)
{
	char *at = mmap(NULL, MAPPED * PAGE, RW, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

/* Splits what is recorded, and joins it again, all the time. */
static void *churning(void *unused UNUSED)
{
	while (!done)
		if (mprotect(p + PAGE, PAGE, PROT_NONE) || mprotect(p + PAGE, PAGE, RW))
			die("mprotect");
	return NULL;
}

/* 0, or what went wrong. */
static int maps_over(void)
{
	if ((madvise(p, PAGE, MADV_REMOVE) == -1) != is_refused)
		return 7;
	char *at = p + 2 * PAGE;
	if (mmap(at, PAGE, RW, MAP_SHARED | MAP_FIXED, plain, 0) != at)
		return 1;
	/* By lines only what is the tagged file's. */
	if (needs_msync && !needs_msync(at, PAGE))
		return 2;
	if (msync(at, PAGE, MS_SYNC))
		return 3;
	if (munmap(at, PAGE) || msync(p + 2 * PAGE, 2 * PAGE, MS_SYNC) != -1 || errno != ENOMEM)
		return 4;
	if (mprotect(p + 3 * PAGE, PAGE, PROT_NONE) || msync(p + 3 * PAGE, PAGE, MS_SYNC))
		return 5;
	char *again = mmap(NULL, MAPPED * PAGE, RW, MAP_SHARED, fd, 0);
	return again == MAP_FAILED || msync(again, MAPPED * PAGE, MS_SYNC) || munmap(again, MAPPED * PAGE) ? 6 : 0;
}

#define CHILD(how, call)                                                                                               \
	({                                                                                                             \
		fflush(stdout);                                                                                        \
		pid_t child_ = WAYS[how].fork();                                                                       \
		if (child_ == 0) {                                                                                     \
			errno = 0;                                                                                     \
			_exit((long)(call) == -1 ? errno : 0);                                                         \
		}                                                                                                      \
		ended(child_);                                                                                         \
	})

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	needs_msync = dlsym(RTLD_DEFAULT, "daxshim_needs_msync");
	fd = open("file", O_RDWR);
	plain = open("plain", O_RDWR);
	for (size_t how = 0; how < sizeof WAYS / sizeof *WAYS; how++) {
		p = map();
		STEP(CHILD(how, (p[how * 100] = '!', msync(p, MAPPED * PAGE, MS_SYNC))), "%s: a child syncs", WAYS[how].name);
		STEP(CHILD(how, munmap(p, MAPPED * PAGE) || msync(p, PAGE, MS_SYNC)), "%s: a child unmaps", WAYS[how].name);
		STEP(msync(p, MAPPED * PAGE, MS_SYNC), "the parent's is still there");
		madvise(p, MAPPED * PAGE, MADV_DONTFORK);
		STEP(CHILD(how, msync(p, MAPPED * PAGE, MS_SYNC)), "%s: a child without it (MADV_DONTFORK)", WAYS[how].name);
		STEP(CHILD(how, madvise(p, PAGE, MADV_REMOVE)), "%s: it punches", WAYS[how].name);
		STEP(CHILD(how, msync(p, PAGE, 0)), "%s: it asks", WAYS[how].name);
		STEP(CHILD(how, CHILD(how, msync(p, PAGE, MS_SYNC))), "%s: a grandchild without it", WAYS[how].name);
		munmap(p, MAPPED * PAGE);
	}
	p = map();
	memset(p, 0, PAGE);
	is_refused = madvise(p, PAGE, MADV_REMOVE) == -1;
	pthread_t thread;
	pthread_create(&thread, NULL, churning, NULL);
	int bad = 0;
	for (int i = 0; i < (runs_fast() ? CHILDREN : CHILDREN / 10); i++) {
		pid_t child = WAYS[i % 4].fork();
		if (child == 0)
			_exit(maps_over());
		long end = ended(child);
		if (end)
			printf("child %d: %ld\n", i, end == -1 ? errno : end);
		bad += end != 0;
	}
	done = true;
	pthread_join(thread, NULL);
	STEP(bad, "children in which something was not seen");
	return end();
}
