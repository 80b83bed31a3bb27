/* A child of clone that shares the memory and not the descriptors: what it learns of a number must
 * not be believed in the parent. */
#include "common.h"
#include <sched.h>

static int file, plain;
static char stack[64 << 10] __attribute__((aligned(16)));

static int plain_under_the_file_s_number(void *unused)
{
	(void)unused;
	raw(SYS_dup2, plain, file);
	return write(file, "WXYZ", 4) == 4 ? 0 : errno;
}

static int write_to_file(void *unused)
{
	(void)unused;
	return write(file, "WXYZ", 4) == 4 ? 0 : errno;
}

static long in_clone(int flags, int (*child)(void *))
{
	int (*clone_)(int (*)(void *), void *, int, void *, ...) = symbol;
	fflush(stdout);
	int pid = clone_(child, stack + sizeof stack, flags | SIGCHLD, NULL);
	return pid < 0 ? pid : ended(pid);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	file = raw(SYS_openat, AT_FDCWD, "file", O_RDWR, 0);
	plain = raw(SYS_openat, AT_FDCWD, "plain", O_RDWR, 0);
	STEP(in_clone(0, plain_under_the_file_s_number), "own memory");
	STEP(write(file, "WXYZ", 4), "the file after that");
	STEP(in_clone(CLONE_VM | CLONE_FILES, write_to_file), "shared memory and descriptors");
	STEP(in_clone(CLONE_VM, plain_under_the_file_s_number), "shared memory");
	STEP(write(file, "WXYZ", 4), "the file after shared memory");
	STEP(in_clone(CLONE_VM | CLONE_VFORK, plain_under_the_file_s_number), "shared memory, parent waits");
	STEP(write(file, "WXYZ", 4), "the file at last");
	STEP(write(plain, "WXYZ", 4), "plain at last");
	STEP(in_clone(CLONE_THREAD, write_to_file), "flags that do not go together");
	return end();
}
