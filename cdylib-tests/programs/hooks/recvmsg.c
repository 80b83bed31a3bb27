#include "common.h"

static int ends[2];

/* Sends descriptors through the socket. */
static void pass(const int *fds, int count)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control = {.header = {CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec one = {"x", 1};
	struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	if (sendmsg(ends[0], &message, 0) != 1)
		die("sendmsg");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*recvmsg_)(int, struct msghdr *, int) = symbol;
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control;
	char byte;
	struct iovec one = {&byte, 1};
	struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int *got = (int *)CMSG_DATA(&control.header);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends))
		die("socketpair");
	int known = open("plain", O_RDWR), other = open("plain", O_RDWR), file = open("file", O_RDWR);
	STEP(write(known, "WXYZ", 4), "plain");
	STEP(write(other, "WXYZ", 4), "plain again");
	pass((int[]){file, file}, 2);
	raw(SYS_close, known);
	raw(SYS_close, other);
	STEP(recvmsg_(ends[1], &message, 0), "the file comes twice");
	STEP(got[0] == known && got[1] == other, "under numbers that were plain");
	STEP(write(got[0], "WXYZ", 4), "write to the first");
	STEP(write(got[1], "WXYZ", 4), "write to the second");
	STEP(ftruncate(got[1], 10), "ftruncate the second");
	pass((int[]){FILE_FD}, 1);
	message.msg_controllen = sizeof control;
	STEP(recvmsg_(ends[1], &message, MSG_CMSG_CLOEXEC), "with CLOEXEC");
	STEP(fcntl(got[0], F_GETFD), "F_GETFD");
	pass((int[]){file, file, file}, 3);
	message.msg_controllen = CMSG_LEN(sizeof(int));
	STEP(recvmsg_(ends[1], &message, 0), "three, room for one");
	STEP(message.msg_flags & MSG_CTRUNC, "MSG_CTRUNC");
	STEP(write(got[0], "WXYZ", 4), "write to the one");
	pass((int[]){file}, 1);
	message = (struct msghdr){.msg_iov = &one, .msg_iovlen = 1};
	STEP(recvmsg_(ends[1], &message, 0), "no room at all");
	STEP(recvmsg_(ends[1], &message, 0), "nothing there");
	STEP(recvmsg_(ends[1], NULL, 0), "header NULL");
	STEP(recvmsg_(file, &message, 0), "not a socket");
	STEP(recvmsg_(CLOSED_FD, &message, 0), "a closed one");
	return end();
}
