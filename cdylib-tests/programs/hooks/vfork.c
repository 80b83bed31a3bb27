/* A child of vfork shares the parent's memory, and not its descriptors. */
#include "common.h"

static int file, plain;

static int __attribute__((noinline)) nothing(void) { return 0; }

static int __attribute__((noinline)) write_to_plain(void)
{
	return write(plain, "WXYZ", 4) == 4 ? 0 : errno;
}

static int __attribute__((noinline)) plain_under_the_file_s_number(void)
{
	raw(SYS_dup2, plain, file);
	return write(file, "WXYZ", 4) == 4 ? 0 : errno;
}

static int __attribute__((noinline)) execute(void)
{
	char *const words[] = {"true", NULL};
	execve("/bin/true", words, NULL);
	return errno;
}

static int __attribute__((noinline)) vfork_again(void)
{
	pid_t pid = vfork();
	if (pid == 0)
		_exit(7);
	int status;
	return pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7 ? 0 : 98;
}

static long __attribute__((noinline)) in_vfork(int (*child)(void))
{
	fflush(stdout);
	pid_t pid = vfork();
	if (pid == 0)
		_exit(child());
	return ended(pid);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	file = raw(SYS_openat, AT_FDCWD, "file", O_RDWR, 0);
	plain = raw(SYS_openat, AT_FDCWD, "plain", O_RDWR, 0);
	STEP(in_vfork(nothing), "a child that exits");
	STEP(in_vfork(write_to_plain), "a child that writes to plain");
	STEP(in_vfork(plain_under_the_file_s_number), "a child with plain under the file's number");
	STEP(write(file, "WXYZ", 4), "the file in the parent");
	STEP(in_vfork(execute), "a child that executes something");
	STEP(in_vfork(vfork_again), "a child with a child");
	STEP(IN_CHILD(in_vfork(write_to_plain)), "in a forked child");
	STEP(write(plain, "WXYZ", 4), "plain in the parent");
	STEP(write(file, "WXYZ", 4), "the file at last");
	return end();
}
