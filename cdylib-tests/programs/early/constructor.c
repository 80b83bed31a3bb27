/* A library whose constructor calls every function of the table that is more than its system call, and prints what
 * each answers. As an object that is initialised first, it comes before the shim's own constructor. Then libc has
 * no environment yet: the working directory is the scene. */
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRY(call)                                                                                                      \
	do {                                                                                                           \
		errno = 0;                                                                                             \
		long result_ = (long)(call);                                                                           \
		printf("%s = %ld %s\n", #call, result_, result_ == -1 ? strerrorname_np(errno) : "");                  \
	} while (0)

static int child(void *unused)
{
	(void)unused;
	return 7;
}

static long cloned(void)
{
	static char stack[1 << 16] __attribute__((aligned(16)));
	int status, pid = clone(child, stack + sizeof stack, SIGCHLD, NULL);
	return pid < 0 || waitpid(pid, &status, 0) != pid ? -1 : WEXITSTATUS(status);
}

__attribute__((constructor)) static void begin(void)
{
	char byte, *none[] = {NULL};
	struct iovec part = {&byte, 1};
	struct aiocb block = {.aio_fildes = -1};
	int fd = open("plain", O_RDWR), other;
	TRY(futimens(fd, NULL));
	TRY(futimes(fd, NULL));
	TRY(lutimes("plain", NULL));
	TRY(lchmod("plain", 0644));
	TRY(lchmod("missing", 0644));
	TRY(mkdir("directory", 0700));
	TRY(remove("directory"));
	TRY(remove("missing"));
	TRY(cloned());
	TRY((closefrom(1000), 0));
	TRY(fexecve(-1, none, none));
	TRY(aio_fsync(O_SYNC, &block));
	TRY(aio_fsync(12345, &block));
	TRY(fchmodat(AT_FDCWD, "plain", 0644, 12345));
	TRY(fchmodat(AT_FDCWD, "plain", 0644, 0));
	TRY(preadv2(fd, &part, 1, 0, 0));
	TRY(preadv2(fd, &part, 1, 0, 1 << 30));
	TRY(pwritev2(fd, &part, 1, 0, 1 << 30));
	TRY(fcntl(fd, F_GETOWN));
	TRY(pkey_mprotect(NULL, 0, PROT_READ, -1));
	TRY((other = dup(fd)) - fd);
	TRY(close(other));
	TRY(write(-1, "", 1));
	TRY(ftruncate(fd, 100));
	close(fd);
	/* What is not preloaded first is enforced at once. */
	fd = open("file", O_RDWR);
	TRY(write(fd, "x", 1));
	fflush(stdout);
}

void early(void);
void early(void)
{
}
