/* System calls store to the mapping, again and again. */
#include "blame.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

static void send_pages(int fd, char with)
{
	static char pages[2 * PAGE];
	memset(pages, with, sizeof pages);
	must(write(fd, pages, sizeof pages) == sizeof pages, "write");
}

static void must_be(const char *p, char what, size_t length)
{
	for (size_t i = 0; i < length; i++)
		must(p[i] == what, "content");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("big", 64);
	int pipes[2], sockets[2];
	must(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "pipes");
	int file = open("source", O_RDWR | O_CREAT | O_TRUNC, 0600);
	must(file >= 0, "source");
	for (char i = 1; i < 20; i++) {
		char *at = p + i * PAGE + 50;
		send_pages(pipes[1], i);
		must(read(pipes[0], at, 2 * PAGE) == 2 * PAGE, "read");
		must_be(at, i, 2 * PAGE);
		lseek(file, 0, SEEK_SET);
		send_pages(file, i);
		at += 4 * PAGE;
		must(pread(file, at, 2 * PAGE, 0) == 2 * PAGE, "pread");
		must_be(at, i, 2 * PAGE);
		at += 4 * PAGE;
		struct iovec parts[] = { { at, PAGE }, { at + 2 * PAGE, PAGE } };
		must(preadv(file, parts, 2, 0) == 2 * PAGE, "preadv");
		must_be(at + 2 * PAGE, i, PAGE);
		at += 4 * PAGE;
		send_pages(sockets[1], i);
		must(recv(sockets[0], at, 2 * PAGE, MSG_WAITALL) == 2 * PAGE, "recv");
		must_be(at, i, 2 * PAGE);
		at += 4 * PAGE;
		send_pages(sockets[1], i);
		parts[0] = (struct iovec){ at, 2 * PAGE };
		struct msghdr message = { .msg_iov = parts, .msg_iovlen = 1 };
		must(recvmsg(sockets[0], &message, MSG_WAITALL) == 2 * PAGE, "recvmsg");
		must_be(at, i, 2 * PAGE);
		at += 4 * PAGE;
		must(getrandom(at, 16, 0) == 16 && syscall(SYS_getrandom, at + PAGE, 16, 0) == 16, "getrandom");
		must(fstat(file, (struct stat *)(p + 50 * PAGE)) == 0, "fstat");
		must(getcwd(p + 52 * PAGE, PAGE) != NULL, "getcwd");
		must(clock_gettime(CLOCK_MONOTONIC, (struct timespec *)(p + 54 * PAGE)) == 0, "clock");
		sync_range(p, 64);
	}
	must(unlink("source") == 0, "unlink");
	writer(p + 60 * PAGE);
	return 0;
}
