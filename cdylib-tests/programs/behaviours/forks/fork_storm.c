/* Thousands of forks from several threads, while others map, unmap, sync and write: no child finds a
 * lock held, a mapping wrong, or a call let through that must not be. */
#include "common.h"

#define RW (PROT_READ | PROT_WRITE)
enum { FORKING = 4, CHURNING = 2 };

static volatile bool done;
static volatile long bad, slipped;
static int fd, plain;
static bool is_tagged;

/* 0, or what went wrong. Async-signal-safe, as a child of a threaded program must be. */
static int __attribute__((noinline)) try_everything(void)
{
	int saved = errno;
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED || msync(p, 4 * PAGE, MS_SYNC))
		return 1;
	/* All at once, as another thread may map what is free. */
	if (mprotect(p, PAGE, PROT_READ) || msync(p, 4 * PAGE, MS_SYNC) || munmap(p, 4 * PAGE))
		return 2;
	if (pwrite(plain, "p", 1, 0) != 1)
		return 3;
	if (is_tagged && (pwrite(fd, "WXYZ", 4, 0) != -1 || errno != EPERM))
		return 4;
	if (is_tagged && (ftruncate(fd, FILE_SIZE) != -1 || errno != EPERM))
		return 5;
	int other = dup(fd);
	if (other < 0 || fcntl(other, F_GETFL) < 0 || close(other))
		return 6;
	errno = saved;
	return 0;
}

static void *churning(void *unused UNUSED)
{
	while (!done)
		if (try_everything())
			__sync_fetch_and_add(&slipped, 1);
	return NULL;
}

/* A child of vfork has this thread's stack: it writes, and touches nothing else. */
static pid_t __attribute__((noinline)) vforked(void)
{
	pid_t child = vfork();
	if (child == 0)
		_exit(is_tagged ? pwrite(fd, "WXYZ", 4, 0) != -1 : pwrite(plain, "p", 1, 0) != 1);
	return child;
}

static pid_t __attribute__((noinline)) forked(void)
{
	pid_t child = fork();
	if (child == 0)
		_exit(try_everything());
	return child;
}

static void *forking(void *count)
{
	for (long i = 0; i < (long)count; i++) {
		int status;
		pid_t child = i % 4 == 3 ? vforked() : forked();
		if (child < 0 || waitpid(child, &status, 0) != child || status)
			__sync_fetch_and_add(&bad, 1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	fd = open("file", O_RDWR);
	plain = open("plain", O_RDWR);
	is_tagged = ftruncate(fd, FILE_SIZE) == -1;
	long count = runs_fast() ? 500 : 10;
	pthread_t threads[FORKING + CHURNING];
	for (int i = 0; i < FORKING + CHURNING; i++)
		pthread_create(&threads[i], NULL, i < FORKING ? forking : churning, (void *)count);
	for (int i = 0; i < FORKING + CHURNING; i++) {
		done = i >= FORKING;
		pthread_join(threads[i], NULL);
	}
	STEP(bad, "children that failed or hung");
	STEP(slipped, "calls of the parent that failed, or slipped past");
	STEP(try_everything(), "afterwards");
	return end();
}
