/* While one thread's call looks at a descriptor, another closes the number as often as versions of a few
 * bits have values, and the tagged file comes under it: what the look found must not be believed then.
 * The looking thread is held by ptrace(2) where its last look returns. */
#include "common.h"
#include <semaphore.h>
#include <sys/ptrace.h>
#include <sys/user.h>

static ssize_t (*call)(int, const void *, size_t);
static int number;    /* the descriptor */
static int closes;    /* how often the other thread closes it */
static int go[2], held[2], done[2];
static sem_t tid_known;
static pid_t looker;
static int error;     /* errno of what the traced process did last */

static void say(int fd) { if (raw(SYS_write, fd, "", 1) != 1) die("write"); }
static void hear(int fd) { char byte; if (raw(SYS_read, fd, &byte, 1) != 1) die("read"); }

static void *look_once(void *result)
{
	looker = raw(SYS_gettid);
	sem_post(&tid_known);
	hear(go[0]);
	*(long *)result = call(number, "", 0);
	return NULL;
}

/* In the traced process: what it may write to the file in the end. */
static long traced_process(int pipe_of_tid)
{
	pthread_t thread;
	long result = -2;
	if (pthread_create(&thread, NULL, look_once, &result))
		die("pthread_create");
	sem_wait(&tid_known);
	if (raw(SYS_write, pipe_of_tid, &looker, sizeof looker) != sizeof looker)
		die("write");
	hear(held[0]);
	for (int i = 0; i < closes; i++)
		close(number);
	int file = raw(SYS_openat, AT_FDCWD, "file", O_RDWR, 0);
	if (file != number && (raw(SYS_dup3, file, number, 0) != number || raw(SYS_close, file)))
		die("dup3");
	say(done[1]);
	pthread_join(thread, NULL);
	if (result != 0)
		die("the write of nothing");
	return call(number, "WXYZ", 4);
}

static void resume(pid_t tid, int how)
{
	if (ptrace(how, tid, NULL, NULL))
		die("ptrace");
}

static void stopped(pid_t tid)
{
	int status;
	if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status))
		die("waitpid");
}

/* Lets the thread go on until its write of nothing, and holds it for as long as the number changes hands: where
 * that many other calls have returned, or before the write. How many there were. */
static int trace(pid_t tid, int hold_after)
{
	int calls = -1; /* its read of the pipe is the first */
	bool was_held = false;
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) || ptrace(PTRACE_INTERRUPT, tid, NULL, NULL))
		die("ptrace");
	stopped(tid);
	say(go[1]);
	for (bool enters = true;; enters = !enters) {
		struct user_regs_struct registers;
		resume(tid, PTRACE_SYSCALL);
		stopped(tid);
		if (ptrace(PTRACE_GETREGS, tid, NULL, &registers))
			die("ptrace");
		bool is_write = registers.orig_rax == SYS_write && (int)registers.rdi == number;
		calls += !enters;
		if (!was_held && (is_write || (!enters && calls == hold_after))) {
			was_held = true;
			say(held[1]);
			hear(done[0]);
		}
		if (is_write)
			break;
	}
	resume(tid, PTRACE_DETACH);
	return calls;
}

/* A process whose look is held after this many calls. */
static int look_in_child(int hold_after, long *result)
{
	int tids[2];
	pid_t tid;
	if (pipe(tids) || pipe(go) || pipe(held) || pipe(done))
		die("pipe");
	fflush(stdout);
	number = raw(SYS_openat, AT_FDCWD, "plain", O_RDWR, 0);
	pid_t child = fork();
	if (child == 0) {
		errno = 0;
		_exit(traced_process(tids[1]) == -1 ? errno : 0);
	}
	if (raw(SYS_read, tids[0], &tid, sizeof tid) != sizeof tid)
		die("read");
	int calls = trace(tid, hold_after);
	*result = ended(child);
	error = errno;
	raw(SYS_close_range, 3, 49, 0);
	return calls;
}

int main(int argc, char **argv)
{
	static const int often[] = {1, 64, 128, 256, 4096, 65536};
	begin(argc, argv);
	call = symbol;
	sem_init(&tid_known, 0, 0);
	for (size_t i = 0; i < sizeof often / sizeof *often; i++) {
		long result;
		closes = often[i];
		int calls = look_in_child(-2, &result);
		STEP((errno = error, result), "%d closes behind the look", closes);
		look_in_child(calls, &result);
		STEP((errno = error, result), "%d closes in the look", closes);
	}
	return end();
}
