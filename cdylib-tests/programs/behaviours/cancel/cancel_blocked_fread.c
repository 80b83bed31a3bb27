/* A thread blocked in getc on an empty pipe is cancelled: its stack unwinds through libc and whatever
 * stands at libc's system call. */
#include "common.h"

static FILE *stream;
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
	getc(stream);
	pthread_cleanup_pop(0);
	return NULL;
}

/* Waits until the thread sleeps in the kernel. */
static void asleep(void)
{
	char path[64], line[256] = "";
	while (!thread_id)
		sched_yield();
	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread_id);
	while (strncmp(line, "0 ", 2)) { /* SYS_read on x86-64 */
		int fd = open(path, O_RDONLY);
		if (fd < 0 || raw(SYS_read, fd, line, sizeof line - 1) < 0)
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
	char bytes[4];
	for (int buffered = 0; buffered < 2; buffered++) {
		if (pipe(ends))
			die("pipe");
		stream = fdopen(ends[0], "r");
		setvbuf(stream, NULL, buffered ? _IOFBF : _IONBF, 0);
		thread_id = cleaned = 0;
		pthread_create(&thread, NULL, blocked, NULL);
		asleep();
		const char *how = buffered ? "buffered" : "unbuffered";
		STEP(pthread_cancel(thread), "pthread_cancel, %s", how);
		STEP(pthread_join(thread, &result), "pthread_join, %s", how);
		STEP(result == PTHREAD_CANCELED, "it was cancelled, %s", how);
		STEP(cleaned, "cleanup handlers ran, %s", how);
		STEP(ftrylockfile(stream), "the stream is not locked, %s", how);
	}
	STEP(read(open("plain", O_RDWR), bytes, 4), "the process is sound");
	return end();
}
