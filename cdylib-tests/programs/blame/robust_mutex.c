/* Owners of robust mutexes in the mapping die: threads and processes, by their own end, killed and crashed,
 * after a sync and before one, and with many mutexes. The next owner is told, as the kernel could say so. */
#include "blame.h"

#include <time.h>

enum end { RETURNS, IS_KILLED, CRASHES, EXITS };

static char *big;

/* Of different kinds, in pages of their own but for the first two, and others each way. */
#define MUTEXES 6
static int way;
static pthread_mutex_t *mutex(int i)
{
	return (void *)(big + (4 + 16 * way) * PAGE + (i < 2 ? 256 * i : 2 * i * PAGE));
}

static void make(int i)
{
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setprotocol(&attributes, i % 2 ? PTHREAD_PRIO_INHERIT : PTHREAD_PRIO_NONE);
	must(pthread_mutex_init(mutex(i), &attributes) == 0, "mutex");
}

static bool syncs;
static atomic_int rounds;
static pid_t first_process;

static void *own(void *unused)
{
	(void)unused;
	for (int i = 0; i < MUTEXES; i++) {
		/* Its page is not the lock's to open. */
		if (way > 0)
			((char *)mutex(i))[1024] ^= 1;
		must(pthread_mutex_lock(mutex(i)) == 0, "lock");
		big[60 * PAGE] ^= 1;
		if (syncs)
			sync_range(big, 64);
		int seen = atomic_load(&rounds);
		while (way == 2 && getpid() == first_process && atomic_load(&rounds) < seen + 2)
			;
	}
	return NULL;
}

static void die(enum end end)
{
	if (end == RETURNS) {
		pthread_t thread;
		must(pthread_create(&thread, NULL, own, NULL) == 0 && pthread_join(thread, NULL) == 0, "thread");
		return;
	}
	pid_t child = fork();
	must(child >= 0, "fork");
	if (child == 0) {
		own(NULL);
		if (end == IS_KILLED)
			kill(getpid(), SIGKILL);
		if (end == CRASHES)
			*(volatile char *)forbidden() = 1;
		_exit(0);
	}
	must(waitpid(child, NULL, 0) == child, "waitpid");
}

static void *sync_always(void *stop)
{
	while (!atomic_load((atomic_bool *)stop)) {
		sync_range(big, 64);
		atomic_fetch_add(&rounds, 1);
	}
	return NULL;
}

static void inherit(void)
{
	struct timespec soon;
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_sec += 20;
	for (int i = 0; i < MUTEXES; i++) {
		errno = pthread_mutex_timedlock(mutex(i), &soon);
		must(errno == EOWNERDEAD, "EOWNERDEAD");
		must(pthread_mutex_consistent(mutex(i)) == 0, "consistent");
		must(pthread_mutex_unlock(mutex(i)) == 0, "unlock");
	}
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	first_process = getpid();
	char *p = mapped("file", 4);
	big = mapped("big", 64);
	for (enum end end = RETURNS; end <= EXITS; end++) {
		for (way = 0; way < 3; way++) {
			for (int i = 0; i < MUTEXES; i++)
				make(i);
			sync_range(big, 64);
			syncs = way == 1;
			/* The last time, while another thread takes all pages again and again. */
			pthread_t other;
			atomic_bool stop = false;
			if (way == 2)
				must(pthread_create(&other, NULL, sync_always, &stop) == 0, "thread");
			die(end);
			inherit();
			atomic_store(&stop, true);
			if (way == 2)
				must(pthread_join(other, NULL) == 0, "join");
		}
	}
	sync_range(p, 4);
	sync_range(big, 64);
	writer(p);
	return 0;
}
