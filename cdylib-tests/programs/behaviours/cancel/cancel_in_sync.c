/* A thread that does nothing but sync is cancelled in it: the call is where a thread can be
 * cancelled, whatever becomes of it. */
#include "common.h"

static int fd;
static char *p;
static volatile int entered;

static int by_fsync(void)
{
	return fsync(fd);
}

static int by_fdatasync(void)
{
	return fdatasync(fd);
}

static int by_msync(void)
{
	return msync(p, PAGE, MS_SYNC);
}

static void *syncing(void *call)
{
	for (;;) {
		((int (*)(void))call)();
		entered = 1;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*call)(void);
	} calls[] = {{"fsync", by_fsync}, {"fdatasync", by_fdatasync}, {"msync", by_msync}};
	static const char *const names[] = {"plain", "file"};
	begin(argc, argv);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		fd = open(names[i], O_RDWR);
		p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		for (size_t j = 0; j < sizeof calls / sizeof *calls; j++) {
			pthread_t thread;
			void *result;
			entered = 0;
			pthread_create(&thread, NULL, syncing, calls[j].call);
			while (!entered)
				sched_yield();
			STEP(pthread_cancel(thread), "pthread_cancel in %s, %s", calls[j].name, names[i]);
			STEP(pthread_join(thread, &result), "pthread_join after %s, %s", calls[j].name, names[i]);
			STEP(result == PTHREAD_CANCELED, "it was cancelled in %s, %s", calls[j].name, names[i]);
		}
		STEP(msync(p, PAGE, MS_SYNC), "msync is sound, %s", names[i]);
		STEP(munmap(p, PAGE), "munmap is sound, %s", names[i]);
	}
	return end();
}
