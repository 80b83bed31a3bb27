/* Descriptors in messages, sent behind the hooks. */
#ifndef PASSING_H
#define PASSING_H

#include "common.h"

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr header;
};

static struct msghdr UNUSED message_with(struct iovec *data, union control *control)
{
	return (struct msghdr){
		.msg_iov = data,
		.msg_iovlen = 1,
		.msg_control = control->bytes,
		.msg_controllen = sizeof control->bytes,
	};
}

static void UNUSED pass(int socket, int fd)
{
	char byte = 'x';
	struct iovec data = {&byte, 1};
	union control control = {0};
	struct msghdr message = message_with(&data, &control);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	if (raw(SYS_sendmsg, socket, &message, 0) != 1)
		die("sendmsg");
}

/* A number that is known as plain's, and then closed behind the hooks. */
static int stale_number(void)
{
	int fd = open("plain", O_RDWR);
	if (write(fd, "WXYZ", 4) != 4)
		die("write to plain");
	raw(SYS_close, fd);
	return fd;
}

#endif
