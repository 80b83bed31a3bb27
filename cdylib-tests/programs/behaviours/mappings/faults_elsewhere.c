/* Where somebody else decides what a load does, no line is written back: a userfaultfd(2) whose handler does not
 * answer, and io_uring(7), through which guard pages are put there unseen. */
#include "filters.h"
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

enum { INSTALL = 102 };

static int fd;

static char *mapped(void)
{
	char *p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	p[0] = p[PAGE] = '!';
	return p;
}

/* Of faults on pages that are there, which tmpfs can hand over. */
static int userfaults(void)
{
	int faults = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM};
	return faults < 0 || ioctl(faults, UFFDIO_API, &api) ? -1 : faults;
}

static int hand_over(int faults, char *at, long length)
{
	struct uffdio_register range = {.range = {(uintptr_t)at, length}, .mode = UFFDIO_REGISTER_MODE_MINOR};
	return ioctl(faults, UFFDIO_REGISTER, &range);
}

/* One request, and what the kernel answers. */
static int by_ring(int how, char *at, long length)
{
	struct io_uring_params params = {0};
	int ring = how ? raw(SYS_io_uring_setup, 1, &params) : syscall(SYS_io_uring_setup, 1, &params);
	if (ring < 0)
		return -1;
	long size = params.sq_off.array + params.sq_entries * 4 + 4096;
	char *queue = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	struct io_uring_sqe *entry = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	*entry = (struct io_uring_sqe){
		.opcode = IORING_OP_MADVISE, .fd = -1, .addr = (uintptr_t)at, .len = length, .fadvise_advice = INSTALL};
	((unsigned *)(queue + params.sq_off.array))[0] = 0;
	__atomic_fetch_add((unsigned *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -1;
	struct io_uring_cqe *answer = (void *)(queue + params.cq_off.cqes);
	errno = -answer->res;
	return answer->res ? -1 : ring;
}

/* What is advised of, can't be read under such a filter. */
static int advised_under_filter(char *at, long length)
{
	static struct sock_filter refuse[] = {
		BEGIN,
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
		KILL,
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = FILTER(refuse);
	int self = syscall(SYS_pidfd_open, getpid(), 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
	struct iovec range = {at, length};
	process_madvise(self, &range, 1, INSTALL, 0);
	return msync(at, length, MS_SYNC);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*msync_)(void *, size_t, int) = symbol;
	keep = true;
	setvbuf(stdout, NULL, _IOLBF, 1 << 16); /* a crash shows where */
	fd = open("file", O_RDWR);

	/* In children, as the ring lasts. */
	for (int how = 0; how < 2; how++) {
		STEP(IN_CHILD(({
			by_ring(how, NULL, 0);
			char *q = mapped();
			by_ring(how, q + PAGE, PAGE);
			int answer = msync(q, FILE_SIZE, MS_SYNC);
			munmap(q, FILE_SIZE);
			q = mapped();
			by_ring(0, q + PAGE, PAGE);
			answer | msync(q, FILE_SIZE, MS_SYNC);
		})), "a ring made %s", how ? "behind the hooks before the first mapping" : "by number");
	}
	char *p = mapped();
	int faults = userfaults();
	STEP(hand_over(faults, p + 1, PAGE) == -1, "faults of an unaligned range");
	STEP(msync_(p, FILE_SIZE, MS_SYNC), "msync");
	/* Where the filesystem can: what comes of it is the same. */
	hand_over(faults, p, 2 * PAGE);
	STEP(madvise(p, FILE_SIZE, MADV_DONTNEED), "all faults from now on");
	STEP(msync_(p, PAGE, MS_SYNC), "msync where somebody handles faults");
	STEP(mprotect(p, FILE_SIZE, PROT_READ | PROT_WRITE), "mprotect");
	STEP(msync_(p, FILE_SIZE, MS_SYNC), "msync of all");
	STEP(fsync(fd), "fsync");
	STEP(munmap(p, FILE_SIZE), "unmapped");

	p = mapped();
	STEP(IN_CHILD((by_ring(0, p + PAGE, PAGE), msync(p, FILE_SIZE, MS_SYNC))), "a ring made after the mapping");
	STEP(msync_(p, FILE_SIZE, MS_SYNC), "msync in the parent");
	STEP(IN_CHILD(advised_under_filter(p, 2 * PAGE)), "advised under a filter");
	return end();
}
