/* A thread with descriptors of its own: what it learns of a number must not be believed in the
 * others. */
#include "common.h"
#include <sched.h>

static int file, plain;
static int (*by)(int);

static int by_number(int flags) { return syscall(SYS_unshare, flags); }
static int by_close_range(int flags)
{
	(void)flags;
	return syscall(SYS_close_range, 5000, 6000, 2 /* CLOSE_RANGE_UNSHARE */);
}

static void *plain_under_the_file_s_number(void *unused)
{
	(void)unused;
	if (by(CLONE_FILES))
		return (void *)(long)-1;
	raw(SYS_dup2, plain, file);
	return (void *)(long)write(file, "WXYZ", 4);
}

static long in_thread(int (*how)(int))
{
	pthread_t thread;
	void *result;
	by = how;
	if (pthread_create(&thread, NULL, plain_under_the_file_s_number, NULL))
		die("pthread_create");
	pthread_join(thread, &result);
	return (long)result;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	file = raw(SYS_openat, AT_FDCWD, "file", O_RDWR, 0);
	plain = raw(SYS_openat, AT_FDCWD, "plain", O_RDWR, 0);
	STEP(((int (*)(int))symbol)(-1), "flags that do not exist");
	/* Each in a process of its own: once is for ever. */
	STEP(IN_CHILD(in_thread(symbol) != 4 || write(file, "WXYZ", 4) != 4 ? -1 : 0), "unshare in a thread, then the file");
	STEP(IN_CHILD(in_thread(by_number) != 4 || write(file, "WXYZ", 4) != 4 ? -1 : 0), "by number");
	STEP(IN_CHILD(in_thread(by_close_range) != 4 || write(file, "WXYZ", 4) != 4 ? -1 : 0), "by close_range");
	STEP(in_thread(symbol), "in this process");
	STEP(write(file, "WXYZ", 4), "the file at last");
	STEP(write(plain, "WXYZ", 4), "plain at last");
	return end();
}
