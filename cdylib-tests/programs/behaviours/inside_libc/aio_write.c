/* POSIX aio writes from threads of libc's own. */
#include "common.h"
#include <aio.h>

static int (*write_)(struct aiocb *);
static struct aiocb block;

static struct aiocb *prepared(int fd)
{
	block = (struct aiocb){.aio_fildes = fd, .aio_buf = "WXYZ", .aio_nbytes = 4, .aio_offset = 8, .aio_lio_opcode = LIO_WRITE};
	return &block;
}

/* What became of it: 0, or -1 with its error in errno. */
static long outcome(int started)
{
	if (started)
		return -1;
	while (aio_error(&block) == EINPROGRESS)
		aio_suspend((const struct aiocb *[]){&block}, 1, NULL);
	int error = aio_error(&block);
	long result = aio_return(&block);
	errno = error ? error : NO_ERROR;
	return result;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	write_ = symbol;
	static const int with[] = {RDWR, WRONLY, RDONLY, RAW, DUP, PLAIN};
	open_descriptors();
	for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
		const char *name = descriptors[with[i]].name;
		int fd = FD(with[i]);
		STEP(outcome(write_(prepared(fd))), "aio_write to %s", name);
		STEP(lio_listio(LIO_WAIT, (struct aiocb *[]){prepared(fd)}, 1, NULL), "lio_listio to %s", name);
	}
	prepared(FD(RDWR));
	char bytes[4];
	block.aio_buf = bytes;
	STEP(outcome(aio_read(&block)), "aio_read");
	STEP(outcome(aio_fsync(O_DSYNC, prepared(FD(RDWR)))), "aio_fsync");
	return end();
}
