#include "check.h"
#include <sys/uio.h>

static NOINLINE void bug(int to)
{
	struct iovec part = {"OK", 2};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	must(sendmsg(to, &message, 0) == 2, "sendmsg");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int ends[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
	char *p = mapped("file", 4);
	p[0] ^= 1;
	if (!wrong)
		sync_range(p, 1);
	bug(ends[0]);
	if (wrong)
		sync_range(p, 1);
	return 0;
}
