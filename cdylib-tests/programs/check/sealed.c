/* Puts itself under a filter that kills for what it does not do itself; then it stores and syncs, and stores
 * and does not. What of that was durable cannot be told. */
#include "check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void seal(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_msync),
		ALLOW(SYS_write),
		ALLOW(SYS_rt_sigreturn),
		ALLOW(SYS_exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS");
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "PR_SET_SECCOMP");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	char *big = mapped("big", 64);
	int channel[2];
	must(pipe(channel) == 0, "pipe");
	p[0] ^= 1;
	sync_range(p, 1);
	if (wrong)
		seal();
	for (int i = 0; i < 4; i++)
		p[i * PAGE] ^= 2;
	sync_range(p, 4);
	must(write(channel[1], "x", 1) == 1, "write");
	big[100] ^= 1;
	sync_range(big, 1);
	if (wrong)
		p[64] ^= 1;
	exit(0);
}
