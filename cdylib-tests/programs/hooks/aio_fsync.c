/* aio_fsync of a mapped file, from a thread of libc's own. */
#include "common.h"
#include <aio.h>

#define RW (PROT_READ | PROT_WRITE)

static struct aiocb block;

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
	int (*aio_fsync_)(int, struct aiocb *) = symbol;
	keep = true;
	block.aio_fildes = open("file", O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, block.aio_fildes, 0);
	if (p == MAP_FAILED)
		die("mmap");
	STEP((p[0] = '!', outcome(aio_fsync_(O_DSYNC, &block))), "O_DSYNC");
	STEP((p[PAGE] = '!', outcome(aio_fsync_(O_SYNC, &block))), "O_SYNC");
	munmap(p + PAGE, PAGE);
	STEP((p[0] = '?', outcome(aio_fsync_(O_SYNC, &block))), "a page of it mapped nowhere");
	block.aio_fildes = -1;
	STEP(outcome(aio_fsync_(O_SYNC, &block)), "no descriptor");
	return end();
}
