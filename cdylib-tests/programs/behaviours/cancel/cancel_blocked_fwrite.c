/* A thread blocked in fflush, or in fwrite to an unbuffered stream, on a full pipe is cancelled: its
 * stack unwinds through libc and whatever stands at libc's system call. */
#include "common.h"

static FILE *stream;
static volatile int cleaned;
static volatile pid_t thread_id;

static void cleanup(void *unused UNUSED)
{
	cleaned++;
}

static void *blocked(void *buffered)
{
	pthread_cleanup_push(cleanup, NULL);
	thread_id = syscall(SYS_gettid);
	fwrite("WXYZ", 1, 4, stream);
	if (buffered)
		fflush(stream);
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
	static char filling[4096];
	int ends[2];
	pthread_t thread;
	void *result;
	for (int buffered = 0; buffered < 2; buffered++) {
		if (pipe(ends))
			die("pipe");
		fcntl(ends[1], F_SETFL, O_NONBLOCK);
		while (write(ends[1], filling, sizeof filling) > 0)
			continue;
		while (write(ends[1], filling, 1) > 0)
			continue;
		fcntl(ends[1], F_SETFL, 0);
		stream = fdopen(ends[1], "w");
		setvbuf(stream, NULL, buffered ? _IOFBF : _IONBF, 0);
		thread_id = cleaned = 0;
		pthread_create(&thread, NULL, blocked, buffered ? filling : NULL);
		asleep();
		const char *how = buffered ? "fflush" : "fwrite";
		STEP(pthread_cancel(thread), "pthread_cancel, %s", how);
		STEP(pthread_join(thread, &result), "pthread_join, %s", how);
		STEP(result == PTHREAD_CANCELED, "it was cancelled, %s", how);
		STEP(cleaned, "cleanup handlers ran, %s", how);
		STEP(ftrylockfile(stream), "the stream is not locked, %s", how);
		fcntl(ends[1], F_SETFL, O_NONBLOCK); /* for the flush at exit */
	}
	STEP(write(open("plain", O_RDWR), "after", 5), "the process is sound");
	return end();
}
