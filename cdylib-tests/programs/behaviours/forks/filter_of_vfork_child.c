/* A child of vfork(2) that puts itself under a filter runs in its parent's memory; the parent is under none, and is
 * refused what it was refused before. */
#include "filters.h"
#include <sched.h>

static int file;

/* What nobody but who looks for a tag calls. */
static struct sock_filter trap[] = {
	BEGIN,
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fgetxattr, 0, 1),
	KILL,
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static int __attribute__((noinline)) filter(void)
{
	struct sock_fprog program = FILTER(trap);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 98;
	return write(raw(SYS_openat, AT_FDCWD, "plain", O_RDWR, 0), "WXYZ", 4) == 4 ? 0 : errno;
}

static int __attribute__((noinline)) twice(void)
{
	return filter() ?: filter();
}

static int __attribute__((noinline)) in_vain(void)
{
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == -1 && errno == EFAULT ? 0 : 98;
}

static int __attribute__((noinline)) and_execute(void)
{
	char *const words[] = {"true", NULL};
	return filter() ?: execve("/bin/true", words, NULL);
}

/* The child's child shares the memory too. */
static int __attribute__((noinline)) nested(void)
{
	int error = filter();
	pid_t pid = error ? -1 : vfork();
	if (pid == 0)
		_exit(filter());
	int status;
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? filter() : 97;
}

static long __attribute__((noinline)) in_vfork(int (*child)(void))
{
	fflush(stdout);
	pid_t pid = vfork();
	if (pid == 0)
		_exit(child());
	return ended(pid);
}

static int cloned(void *child)
{
	_exit(((int (*)(void))child)());
}

static long in_clone(int (*child)(void))
{
	static char stack[1 << 16] __attribute__((aligned(16)));
	fflush(stdout);
	return ended(clone(cloned, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)child));
}

#define REFUSED(...)                                                                                                   \
	do {                                                                                                           \
		STEP(write(file, "WXYZ", 4), "write after " __VA_ARGS__);                                              \
		STEP(chmod("file", 0600), "chmod after " __VA_ARGS__);                                                 \
		raw(SYS_close, raw(SYS_dup2, 2, file));                                                                \
		file = open("file", O_RDWR);                                                                           \
	} while (0)

int main(int argc, char **argv)
{
	begin(argc, argv);
	file = open("file", O_RDWR);
	STEP(in_vfork(filter), "a child under a filter");
	REFUSED("a child under a filter");
	STEP(in_vfork(twice), "a child under two");
	REFUSED("a child under two");
	STEP(in_vfork(in_vain), "a child that gets none");
	REFUSED("a child that gets none");
	STEP(in_vfork(and_execute), "a child that executes something");
	REFUSED("a child that executes something");
	STEP(in_vfork(nested), "a child with a child, both under filters");
	REFUSED("a child with a child");
	STEP(in_clone(filter), "a child of clone(2)");
	REFUSED("a child of clone(2)");
	/* A child of fork(2) has memory of its own: its filter lasts, past its own child of vfork(2) too. */
	STEP(IN_CHILD(filter() ?: in_vfork(filter) ?: filter()), "a child of fork(2)");
	REFUSED("a child of fork(2)");
	return end();
}
