/* POSIX aio: a thread of libc's calls fsync. */
#include "check.h"
#include <aio.h>

static NOINLINE void bug(char *p)
{
	munmap(p, 4 * PAGE);
}

static void synced_by(int operation, long page)
{
	struct aiocb block = {.aio_fildes = opened("file")};
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, block.aio_fildes, 0);
	must(p != MAP_FAILED, "mmap");
	p[page * PAGE + 100] ^= 1;
	if (!wrong) {
		must(aio_fsync(operation, &block) == 0, "aio_fsync");
		while (aio_error(&block) == EINPROGRESS)
			aio_suspend((const struct aiocb *[]){&block}, 1, NULL);
		must(aio_return(&block) == 0, "aio_return");
	}
	bug(p);
	close(block.aio_fildes);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	synced_by(O_SYNC, 1);
	synced_by(O_DSYNC, 2);
	return 0;
}
