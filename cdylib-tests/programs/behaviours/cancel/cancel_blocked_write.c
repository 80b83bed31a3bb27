/* A thread blocked in write() to a full pipe is cancelled: its stack unwinds through the hook. */
#include "common.h"

static ssize_t (*call)(int, const void *, size_t);
static char filling[4096];
static int pipe_end;
static volatile bool entered;
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
	entered = true;
	call(pipe_end, filling, sizeof filling);
	pthread_cleanup_pop(0);
	return NULL;
}

/* Waits until the thread sleeps in the kernel. */
static void asleep(void)
{
	char path[64], line[256] = "";
	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread_id);
	while (strncmp(line, "1 ", 2)) { /* SYS_write on x86-64 */
		int fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, line, sizeof line - 1) < 0)
			die(path);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int ends[2];
	pthread_t thread;
	void *result;
	call = symbol;
	if (pipe(ends))
		die("pipe");
	fcntl(ends[1], F_SETFL, O_NONBLOCK);
	while (write(ends[1], filling, sizeof filling) > 0)
		continue;
	while (write(ends[1], filling, 1) > 0)
		continue;
	fcntl(ends[1], F_SETFL, 0);
	pipe_end = ends[1];
	for (int i = 0; i < 2; i++) {
		entered = false;
		pthread_create(&thread, NULL, blocked, NULL);
		while (!entered)
			sched_yield();
		if (i == 0)
			asleep(); /* in the call; the second time cancel may come before it */
		STEP(pthread_cancel(thread), "pthread_cancel");
		STEP(pthread_join(thread, &result), "pthread_join");
		STEP(result == PTHREAD_CANCELED, "it was cancelled");
		STEP(cleaned, "cleanup handlers ran");
	}
	STEP(write(open("plain", O_RDWR), "after", 5), "the process is sound");
	return end();
}
