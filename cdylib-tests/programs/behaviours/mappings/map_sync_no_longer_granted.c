/* The kernel grants MAP_SYNC for a mapping, and from then on no more: the program notices nothing. What plays the
 * kernel is a filter that is set up behind the hooks, as the library would keep away from it. */
#include "common.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#define RW (PROT_READ | PROT_WRITE)

/* mmap with MAP_SYNC is EOPNOTSUPP. */
static void no_map_sync(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_SYNC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	if (raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1) || raw(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*msync_)(void *, size_t, int) = symbol;
	keep = true;
	int fd = open("file", O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	STEP((p[0] = '!', msync_(p, 4 * PAGE, MS_SYNC)), "granted");
	no_map_sync();
	char *q = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	STEP(q != MAP_FAILED, "mapped all the same");
	STEP((q[PAGE] = '!', msync_(q, 4 * PAGE, MS_SYNC)), "not granted");
	STEP((p[2 * PAGE] = '!', msync_(p, 4 * PAGE, MS_SYNC)), "the first one still is");
	STEP(mmap(p + PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, PAGE) == p + PAGE, "in the midst of it");
	STEP((p[PAGE] = '?', msync_(p, 4 * PAGE, MS_SYNC)), "one part granted, another not");
	STEP(fsync(fd), "fsync");
	return end();
}
