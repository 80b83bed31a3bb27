/* A tagged file refuses write() on any descriptor, however it was got. */
#include "common.h"

static int received(int fd)
{
	int ends[2];
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof fd)];
	} control = {.header = {CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec one = {"x", 1};
	char byte;
	struct iovec into = {&byte, 1};
	struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || sendmsg(ends[0], &message, 0) != 1)
		die("sendmsg");
	message.msg_iov = &into;
	if (recvmsg(ends[1], &message, 0) != 1)
		die("recvmsg");
	memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
	return fd;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*write_)(int, const void *, size_t) = symbol;
	int fd = open("file", O_RDWR);
	if (argc > 3) { /* executed again, below */
		STEP(write_(50, "WXYZ", 4), "inherited by exec");
		STEP(ftruncate(50, 10), "ftruncate, inherited by exec");
		return end();
	}
	STEP(write_(dup(fd), "WXYZ", 4), "dup");
	STEP(write_(dup2(fd, 40), "WXYZ", 4), "dup2");
	STEP(write_(dup3(fd, 41, O_CLOEXEC), "WXYZ", 4), "dup3");
	STEP(write_(fcntl(fd, F_DUPFD, 42), "WXYZ", 4), "F_DUPFD");
	STEP(IN_CHILD(write_(fd, "WXYZ", 4)), "fork");
	STEP(write_(received(fd), "WXYZ", 4), "SCM_RIGHTS");
	STEP(write_(syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, getpid(), 0), fd, 0), "WXYZ", 4), "pidfd_getfd");
	char name[40];
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	STEP(write_(open(name, O_WRONLY), "WXYZ", 4), "reopened through /proc");
	syscall(SYS_dup3, fd, 50, 0);
	fflush(stdout);
	execl("/proc/self/exe", argv[0], argv[1], argv[2], "again", NULL);
	die("execl");
	return end();
}
