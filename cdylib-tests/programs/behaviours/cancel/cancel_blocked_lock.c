/* A thread that waits for a lock in fcntl(F_SETLKW) is cancelled. */
#include "common.h"

static int (*call)(int, int, ...);
static struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
static const char *name;
static volatile int cleaned;
static volatile pid_t thread_id;

static void cleanup(void *unused UNUSED)
{
	cleaned++;
}

static void *blocked(void *unused UNUSED)
{
	int fd = open(name, O_RDWR);
	pthread_cleanup_push(cleanup, NULL);
	thread_id = syscall(SYS_gettid);
	call(fd, F_SETLKW, &whole);
	pthread_cleanup_pop(0);
	return NULL;
}

/* Waits until the thread sleeps in fcntl. */
static void asleep(void)
{
	char path[64], line[256] = "";
	while (!thread_id)
		sched_yield();
	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread_id);
	while (atoi(line) != SYS_fcntl) {
		int fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, line, sizeof line - 1) < 0)
			die(path);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"plain", "file"};
	begin(argc, argv);
	call = symbol;
	for (int i = 0; i < 2; i++) {
		int ready[2], done[2];
		char byte;
		pthread_t thread;
		void *result;
		name = names[i];
		if (pipe(ready) || pipe(done))
			die("pipe");
		pid_t holder = fork();
		if (holder == 0) {
			close(done[1]);
			if (fcntl(open(name, O_RDWR), F_SETLK, &whole) || write(ready[1], "r", 1) != 1)
				_exit(1);
			_exit(read(done[0], &byte, 1) != 0); /* until the parent closes its end */
		}
		if (read(ready[0], &byte, 1) != 1)
			die("the holder");
		thread_id = 0;
		pthread_create(&thread, NULL, blocked, NULL);
		asleep();
		STEP(pthread_cancel(thread), "pthread_cancel, %s", name);
		STEP(pthread_join(thread, &result), "pthread_join, %s", name);
		STEP(result == PTHREAD_CANCELED, "it was cancelled, %s", name);
		STEP(cleaned, "cleanup handlers ran, %s", name);
		close(done[1]);
		STEP(ended(holder), "the holder, %s", name);
		STEP(fcntl(open(name, O_RDWR), F_SETLK, &whole), "the lock is free, %s", name);
	}
	return end();
}
