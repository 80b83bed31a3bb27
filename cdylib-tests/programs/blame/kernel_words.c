/* Words in the mapping that the kernel stores to by itself: of a futex with an owner, of a thread that ends,
 * of a restartable sequence's area; and a process that another one writes to. */
#include "blame.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>

static char *p;
static atomic_int waits;

static long futex(atomic_int *word, int operation)
{
	return syscall(SYS_futex, word, operation, 0, NULL, NULL, 0);
}

static void *wait_for(void *word)
{
	atomic_store(&waits, 1);
	must(futex(word, FUTEX_LOCK_PI) == 0, "FUTEX_LOCK_PI, contended");
	must(futex(word, FUTEX_UNLOCK_PI) == 0, "FUTEX_UNLOCK_PI");
	return NULL;
}

static int nothing(void *unused)
{
	(void)unused;
	return 0;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	p = mapped("file", 4);
	sync_range(p, 4);
	atomic_int *word = (void *)(p + 2 * PAGE);
	atomic_store(word, 0);
	sync_range(p, 4);
	must(futex(word, FUTEX_LOCK_PI) == 0, "FUTEX_LOCK_PI");
	pthread_t thread;
	must(pthread_create(&thread, NULL, wait_for, word) == 0, "thread");
	while (!(atomic_load(word) & FUTEX_WAITERS))
		sched_yield();
	sync_range(p, 4);
	must(futex(word, FUTEX_UNLOCK_PI) == 0, "FUTEX_UNLOCK_PI, contended");
	must(pthread_join(thread, NULL) == 0, "join");

	/* Its number while it lives, and 0 behind it: the kernel's own word of its end. */
	static char stack[64 << 10];
	atomic_int *number = (void *)(p + 3 * PAGE + 64);
	atomic_store(number, 7);
	sync_range(p, 4);
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
	pid_t child = clone(nothing, stack + sizeof stack, flags | SIGCHLD, NULL, NULL, NULL, number);
	must(child > 0, "clone");
	sync_range(p, 4);
	must(waitpid(child, NULL, 0) == child, "waitpid");
	must(atomic_load(number) == 0, "the word of a thread's end");

	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct flock *asked = memcpy(p + 3 * PAGE + 1024, &lock, sizeof lock);
	sync_range(p, 4);
	int fd = opened("file");
	must(fcntl(fd, F_GETLK, asked) == 0 && asked->l_type == F_UNLCK, "F_GETLK");
	close(fd);

	sync_range(p, 4);
	writer(p);
	return 0;
}
