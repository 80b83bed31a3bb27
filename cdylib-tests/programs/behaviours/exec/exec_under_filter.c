/* A program that is started under a filter which kills for whatever the dynamic loader and a greeting do not
 * call, making code of data included. */
#include "filters.h"

#define PROTECTION offsetof(struct seccomp_data, args[2])

static struct sock_filter list[] = {
	BEGIN,
	ALLOW(execve), ALLOW(brk), ALLOW(mmap), ALLOW(munmap), ALLOW(access), ALLOW(openat), ALLOW(read), ALLOW(pread64),
	ALLOW(newfstatat), ALLOW(close), ALLOW(arch_prctl), ALLOW(set_tid_address), ALLOW(set_robust_list), ALLOW(rseq),
	ALLOW(prlimit64), ALLOW(getrandom), ALLOW(write), ALLOW(exit_group), ALLOW(seccomp), ALLOW(prctl),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, PROTECTION),
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	KILL,
};
static struct sock_fprog filter = {sizeof list / sizeof *list, list};

static long greeted_by(char **argv)
{
	char *arguments[] = {argv[0], argv[1], argv[2], "greet", NULL};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter))
		return -1;
	return execve("/proc/self/exe", arguments, environ);
}

int main(int argc, char **argv)
{
	if (argc > 3) {
		say("hello\n");
		int fd = openat(AT_FDCWD, "plain", O_RDWR);
		say("%ld\n", (long)write(fd, "x", 1));
		return 0;
	}
	begin(argc, argv);
	STEP(IN_CHILD(greeted_by(argv)), "a program under a filter");
	return end();
}
