/* open, fsync, msync and write are cancellation points, under the shim too: also where it refuses. */
#include "common.h"

static int (*call)(const char *, int, ...);
static int which;
static volatile int cleaned;

static void cleanup(void *unused UNUSED)
{
	cleaned++;
}

/* A cancellation that is pending when the call is entered: each of them acts on it. */
static void *cancelled(void *unused UNUSED)
{
	int fd = open("file", O_RDWR);
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_cleanup_push(cleanup, NULL);
	pthread_cancel(pthread_self());
	if (which == 0)
		call("plain", O_RDWR);
	else if (which == 1)
		fsync(fd);
	else if (which == 2)
		msync(p, PAGE, MS_SYNC);
	else
		(void)!write(fd, "x", 1);
	pthread_cleanup_pop(0);
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	call = symbol;
	static const char *const names[] = {"open", "fsync", "msync", "write"};
	pthread_t thread;
	void *result;
	for (int i = 0; i < 4; i++) {
		which = i;
		pthread_create(&thread, NULL, cancelled, NULL);
		pthread_join(thread, &result);
		STEP(result == PTHREAD_CANCELED, "cancelled in %s", names[i]);
		STEP(cleaned, "cleanup handlers ran");
	}
	return end();
}
