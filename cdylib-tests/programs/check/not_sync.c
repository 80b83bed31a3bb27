/* On DAX: a kernel that does not grant MAP_SYNC, as with virtio-pmem, is played by a filter that is set up behind
 * the hooks, as the library would keep away from it. */
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static long inline_prctl(long option, long first, const void *second)
{
	long result = SYS_prctl;
	register long r10 __asm__("r10") = 0, r8 __asm__("r8") = 0;
	__asm__ volatile("syscall" : "+a"(result) : "D"(option), "S"(first), "d"(second), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return result;
}

static void refuse_map_sync(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_SYNC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	must(inline_prctl(PR_SET_NO_NEW_PRIVS, 1, NULL) == 0, "PR_SET_NO_NEW_PRIVS");
	must(inline_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "PR_SET_SECCOMP");
}

static NOINLINE char *bug(void)
{
	return mapped("file", 4);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	if (wrong)
		refuse_map_sync();
	char *p = bug();
	p[0] ^= 1;
	sync_range(p, 1);
	return 0;
}
