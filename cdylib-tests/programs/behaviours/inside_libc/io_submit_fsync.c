/* The kernel's own syncs of a mapped file, asked for by libaio's function and by number. */
#include "common.h"
#include <linux/aio_abi.h>

#define RW (PROT_READ | PROT_WRITE)

static aio_context_t context;

static long synced(bool by_number, struct iocb block)
{
	int (*submit)(aio_context_t, long, struct iocb **) = symbol;
	struct iocb *blocks[] = {&block};
	struct io_event event;
	long submitted = by_number ? syscall(SYS_io_submit, context, 1L, blocks) : submit(context, 1, blocks);
	if (submitted != 1)
		return submitted;
	raw(SYS_io_getevents, context, 1, 1, &event, NULL);
	return event.res;
}

int main(int argc, char **argv)
{
	if (!dlopen("libaio.so.1", RTLD_NOW | RTLD_GLOBAL))
		die("libaio.so.1");
	begin(argc, argv);
	keep = true;
	if (raw(SYS_io_setup, 4, &context))
		die("io_setup");
	int fd = open("file", O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	for (int by_number = 0; by_number < 2; by_number++) {
		const char *how = by_number ? "syscall" : "libaio";
		struct iocb block = {.aio_fildes = fd, .aio_lio_opcode = IOCB_CMD_FSYNC};
		p[0] ^= 1;
		STEP(synced(by_number, block), "%s: FSYNC", how);
		block.aio_lio_opcode = IOCB_CMD_FDSYNC;
		p[PAGE] ^= 1;
		STEP(synced(by_number, block), "%s: FDSYNC", how);
		block.aio_nbytes = 1;
		STEP(synced(by_number, block), "%s: FDSYNC with a length", how);
		block = (struct iocb){.aio_fildes = -1, .aio_lio_opcode = IOCB_CMD_FSYNC};
		STEP(synced(by_number, block), "%s: no descriptor", how);
	}
	return end();
}
