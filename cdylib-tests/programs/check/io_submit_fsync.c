/* The kernel's aio: it syncs the file by itself. */
#include "check.h"
#include <linux/aio_abi.h>
#include <sys/syscall.h>

static aio_context_t context;

static NOINLINE void bug(char *p)
{
	munmap(p, 4 * PAGE);
}

static void synced_by(int command, long page)
{
	int fd = opened("file");
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED, "mmap");
	p[page * PAGE + 100] ^= 1;
	if (!wrong) {
		struct iocb block = {.aio_fildes = fd, .aio_lio_opcode = command};
		struct iocb *blocks[] = {&block};
		struct io_event event;
		must(syscall(SYS_io_submit, context, 1L, blocks) == 1, "io_submit");
		must(syscall(SYS_io_getevents, context, 1L, 1L, &event, NULL) == 1, "io_getevents");
		must(event.res == 0, "the kernel's fsync");
	}
	bug(p);
	close(fd);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	must(syscall(SYS_io_setup, 4L, &context) == 0, "io_setup");
	synced_by(IOCB_CMD_FSYNC, 1);
	synced_by(IOCB_CMD_FDSYNC, 2);
	return 0;
}
