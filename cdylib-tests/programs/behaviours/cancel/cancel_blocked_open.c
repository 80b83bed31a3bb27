/* A thread blocked in open() of a FIFO that nobody writes to is cancelled. */
#include "common.h"

static int (*call)(const char *, int, ...);
static volatile int cleaned;
static volatile pid_t thread_id;

static void cleanup(void *unused UNUSED)
{
	cleaned++;
}

static void *blocked(void *unused UNUSED)
{
	pthread_cleanup_push(cleanup, NULL);
	thread_id = syscall(SYS_gettid);
	call("fifo", O_RDONLY);
	pthread_cleanup_pop(0);
	return NULL;
}

/* Waits until the thread sleeps in openat. */
static void asleep(void)
{
	char path[64], line[256] = "";
	while (!thread_id)
		sched_yield();
	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread_id);
	while (atoi(line) != SYS_openat && atoi(line) != SYS_open) {
		int fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, line, sizeof line - 1) < 0)
			die(path);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;
	void *result;

	begin(argc, argv);
	call = symbol;
	if (mkfifo("fifo", 0600))
		die("mkfifo");
	pthread_create(&thread, NULL, blocked, NULL);
	asleep();
	STEP(pthread_cancel(thread), "pthread_cancel");
	STEP(pthread_join(thread, &result), "pthread_join");
	STEP(result == PTHREAD_CANCELED, "it was cancelled");
	STEP(cleaned, "cleanup handlers ran");
	STEP(closing(open("plain", O_RDWR)), "the process is sound");
	return end();
}
