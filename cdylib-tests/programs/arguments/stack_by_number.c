/* The rows of the table that have no name, by syscall(2): each step is called like its row. For how much of the
 * stack they take; what they answer is the business of others. */
#include "common.h"
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>

/* Numbers that libc has no names for yet. */
enum { FCHMODAT2 = 452, SETXATTRAT = 463, REMOVEXATTRAT = 466, FILE_GETATTR = 468, FILE_SETATTR = 469 };

struct xattr_arguments {
	uint64_t value;
	uint32_t size, flags;
};

struct file_attributes {
	uint64_t xflags;
	uint32_t extsize, nextents, projid, cowextsize;
};

static long child_of(long child)
{
	if (child == 0)
		_exit(0);
	return child > 0 ? ended(child) : child;
}

static long submitted(struct iocb *blocks, long count)
{
	aio_context_t context = 0;
	struct iocb *list[64];
	for (long i = 0; i < count; i++)
		list[i] = &blocks[i];
	if (raw(SYS_io_setup, 64, &context))
		return -1;
	long result = syscall(SYS_io_submit, context, count, list);
	raw(SYS_io_destroy, context);
	return result < 0 ? -1 : 0;
}

static long sent(int (*ends)[2], int how)
{
	struct iovec part = {"x", 1};
	struct mmsghdr message = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
	switch (how) {
	case 0:
		return syscall(SYS_sendto, (*ends)[0], "x", 1, 0, NULL, 0);
	case 1:
		return syscall(SYS_sendmsg, (*ends)[0], &message.msg_hdr, 0);
	default:
		return syscall(SYS_sendmmsg, (*ends)[0], &message, 1, 0);
	}
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	open_descriptors();
	struct open_how truncating = {.flags = O_RDWR | O_TRUNC}, reading = {.flags = O_RDONLY};
	struct xattr_arguments value = {(uintptr_t)"yes", 3, 0};
	struct file_attributes attributes = {0};
	struct clone_args arguments3 = {.exit_signal = SIGCHLD};
	struct io_uring_params parameters = {0};
	struct iocb blocks[64] = {0};
	uint32_t action = SECCOMP_RET_ALLOW;
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends))
		die("socketpair");
	for (int i = 0; i < 64; i++)
		blocks[i] = (struct iocb){.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = FD(PLAIN), .aio_buf = (uintptr_t)"x", .aio_nbytes = 1};
	blocks[63].aio_fildes = FD(RDWR);

	FOR_AT_ROUTES(r) {
		STEP(closing(syscall(SYS_openat2, r->fd, r->path, &reading, sizeof reading)), "openat2 %s", r->name);
		STEP(closing(syscall(SYS_openat2, r->fd, r->path, &truncating, sizeof truncating)), "openat2 O_TRUNC %s", r->name);
		STEP(syscall(SYS_fchmodat, r->fd, r->path, 0644), "fchmodat_no_flags %s", r->name);
		STEP(syscall(FCHMODAT2, r->fd, r->path, 0644, AT_EMPTY_PATH), "fchmodat2 %s", r->name);
		STEP(syscall(SETXATTRAT, r->fd, r->path, AT_EMPTY_PATH, "user.test", &value, sizeof value), "setxattrat %s", r->name);
		STEP(syscall(REMOVEXATTRAT, r->fd, r->path, AT_EMPTY_PATH, "user.test"), "removexattrat %s", r->name);
		STEP(syscall(FILE_GETATTR, r->fd, r->path, &attributes, sizeof attributes, AT_EMPTY_PATH), "file_getattr %s", r->name);
		STEP(syscall(FILE_SETATTR, r->fd, r->path, &attributes, sizeof attributes, AT_EMPTY_PATH), "file_setattr %s", r->name);
	}
	STEP(child_of(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)), "clone_call");
	STEP(child_of(syscall(SYS_clone3, &arguments3, sizeof arguments3)), "clone3");
	STEP(submitted(blocks, 1), "io_submit_by_number one");
	STEP(submitted(blocks, 64), "io_submit_by_number many");
	STEP(submitted(blocks + 63, 1), "io_submit_by_number refused");
	STEP(closing(syscall(SYS_io_uring_setup, 4, &parameters)) >= 0, "io_uring_setup");
	STEP(sent(&ends, 0), "sendto");
	STEP(sent(&ends, 1), "sendmsg");
	STEP(sent(&ends, 2), "sendmmsg");
	STEP(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action), "seccomp");
	STEP(syscall(SYS_sync), "sync");
	STEP(syscall(SYS_syncfs, FD(RDWR)), "syncfs");
	return end();
}
