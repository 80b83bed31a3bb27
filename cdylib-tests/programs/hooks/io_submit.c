/* libaio's function, which returns its error, and the system call by number. */
#include "common.h"
#include <linux/aio_abi.h>

static int (*submit)(aio_context_t, long, struct iocb **);
static aio_context_t context;
static bool by_number;

/* Waits for what was submitted; what became of the last. */
static long outcome(long submitted)
{
	struct io_event events[8];
	int saved = errno;
	long result = submitted;
	if (submitted > 0 && raw(SYS_io_getevents, context, submitted, 8, events, NULL) == submitted && submitted == 1)
		result = events[0].res;
	errno = saved;
	return result;
}

static long submitted(long count, struct iocb **blocks)
{
	return outcome(by_number ? syscall(SYS_io_submit, context, count, blocks) : submit(context, count, blocks));
}

static struct iocb block(int fd, int kind, void *buffer, size_t length, long offset)
{
	return (struct iocb){.aio_fildes = fd, .aio_lio_opcode = kind, .aio_buf = (uintptr_t)buffer, .aio_nbytes = length, .aio_offset = offset};
}

static long one(struct iocb block)
{
	return submitted(1, (struct iocb *[]){&block});
}

static void steps(const char *how)
{
	char bytes[8], text[] = "WXYZ";
	struct iovec two[] = {{text, 2}, {text + 2, 2}}, into[] = {{bytes, 2}, {bytes + 2, 2}};
	FOR_DESCRIPTORS(d) {
		STEP(one(block(d->fd, IOCB_CMD_PWRITE, text, 4, 64)), "%s: PWRITE %s", how, d->name);
		STEP(one(block(d->fd, IOCB_CMD_PWRITEV, two, 2, 64)), "%s: PWRITEV %s", how, d->name);
		STEP(one(block(d->fd, IOCB_CMD_PREAD, bytes, 4, 64)), "%s: PREAD %s", how, d->name);
		STEP(one(block(d->fd, IOCB_CMD_PREADV, into, 2, 64)), "%s: PREADV %s", how, d->name);
		STEP(one(block(d->fd, IOCB_CMD_FSYNC, NULL, 0, 0)), "%s: FSYNC %s", how, d->name);
	}
	int file = FD(RDWR);
	STEP(one(block(file, IOCB_CMD_PWRITE, (void *)8, 4, 64)), "%s: from a bad pointer", how);
	STEP(one(block(file, IOCB_CMD_PWRITEV, (void *)8, 2, 64)), "%s: a vector at a bad pointer", how);
	STEP(one(block(file, IOCB_CMD_PWRITE, text, 4, -1)), "%s: offset -1", how);
	STEP(one(block(file, 99, text, 4, 64)), "%s: an unknown command", how);

	struct iocb plain = block(FD(PLAIN), IOCB_CMD_PWRITE, text, 4, 8), tagged = block(file, IOCB_CMD_PWRITE, text, 4, 8),
		    read = block(file, IOCB_CMD_PREAD, bytes, 4, 8);
	STEP(submitted(3, (struct iocb *[]){&plain, &tagged, &plain}), "%s: plain, file, plain", how);
	STEP(submitted(2, (struct iocb *[]){&tagged, &plain}), "%s: file, plain", how);
	STEP(submitted(3, (struct iocb *[]){&read, &plain, &tagged}), "%s: a read, plain, file", how);
	STEP(submitted(2, (struct iocb *[]){&plain, (struct iocb *)8}), "%s: plain, a bad pointer", how);
	STEP(submitted(2, (struct iocb *[]){(struct iocb *)8, &tagged}), "%s: a bad pointer, file", how);
	STEP(submitted(1, (struct iocb **)8), "%s: blocks at a bad pointer", how);
	STEP(submitted(0, (struct iocb *[]){&tagged}), "%s: none", how);
	STEP(submitted(-1, (struct iocb *[]){&tagged}), "%s: -1 of them", how);
	struct iocb *forty[40];
	for (int i = 0; i < 40; i++)
		forty[i] = i < 37 ? &plain : &tagged;
	long result;
	struct io_event events[40];
	STEP(result = by_number ? syscall(SYS_io_submit, context, 40L, forty) : submit(context, 40, forty), "%s: file behind 37", how);
	raw(SYS_io_getevents, context, result, 40, events, NULL);
	aio_context_t saved = context;
	context = 8;
	STEP(submitted(1, (struct iocb *[]){&tagged}), "%s: no such context", how);
	context = saved;
}

int main(int argc, char **argv)
{
	/* Loaded late: under the library its function must still come behind. */
	if (!dlopen("libaio.so.1", RTLD_NOW | RTLD_GLOBAL))
		die("libaio.so.1");
	begin(argc, argv);
	submit = symbol;
	if (raw(SYS_io_setup, 64, &context))
		die("io_setup");
	open_descriptors();
	steps("libaio");
	by_number = true;
	steps("syscall");
	return end();
}
