/* under_filter HOW PROGRAM ARGUMENT...: the program, under a system call filter (two, for "twice") that lets
 * everything through but what HOW says. */
#include "filters.h"

static struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
/* As an old container has it, which does not know the newest calls and lets nobody look at others. */
static struct sock_filter refuse[] = {
	BEGIN,
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 440, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
static struct sock_filter end_it[] = {
	BEGIN,
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fgetxattr, 0, 1),
	KILL,
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
/* The same by a signal that a handler could take. */
static struct sock_filter trap[] = {
	BEGIN,
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fgetxattr, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static void set_up(struct sock_fprog filter)
{
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
		perror("seccomp");
		exit(99);
	}
}

int main(int argc, char **argv)
{
	if (argc < 3 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return 99;
	stage = argv[1];
	if (!strcmp(stage, "refuse"))
		set_up(FILTER(refuse));
	else if (!strcmp(stage, "kill"))
		set_up(FILTER(end_it));
	else if (!strcmp(stage, "trap"))
		set_up(FILTER(trap));
	else
		set_up(FILTER(allow));
	if (!strcmp(stage, "twice"))
		set_up(FILTER(allow));
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 99;
}
