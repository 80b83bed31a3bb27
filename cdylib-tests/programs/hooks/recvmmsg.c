#include "common.h"

static int ends[2];

static void pass(int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof fd)];
	} control = {.header = {CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec one = {"x", 1};
	struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	if (sendmsg(ends[0], &message, 0) != 1)
		die("sendmsg");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*recvmmsg_)(int, struct mmsghdr *, unsigned, int, struct timespec *) = symbol;
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} controls[3];
	char byte;
	struct iovec one = {&byte, 1};
	struct mmsghdr messages[3];
	int known[3], file = open("file", O_RDWR);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends))
		die("socketpair");
	for (int i = 0; i < 3; i++) {
		known[i] = open("plain", O_RDWR);
		STEP(write(known[i], "WXYZ", 4), "plain %d", i);
		messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = &controls[i], .msg_controllen = sizeof *controls}};
	}
	for (int i = 0; i < 3; i++) {
		pass(file);
		raw(SYS_close, known[i]);
	}
	STEP(recvmmsg_(ends[1], messages, 2, 0, NULL), "two messages");
	STEP(recvmmsg_(ends[1], messages + 2, 1, 0, NULL), "the third");
	for (int i = 0; i < 3; i++) {
		int got = *(int *)CMSG_DATA(&controls[i].header);
		STEP(got == known[i], "file %d under a number that was plain", i);
		STEP(write(got, "WXYZ", 4), "write to file %d", i);
	}
	STEP(recvmmsg_(ends[1], messages, 3, 0, NULL), "nothing there");
	STEP(recvmmsg_(ends[1], (void *)8, 3, 0, NULL), "headers at a bad pointer");
	STEP(recvmmsg_(CLOSED_FD, messages, 3, 0, NULL), "a closed one");
	return end();
}
