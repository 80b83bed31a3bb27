/* Every bit of every argument that has flags, one at a time, on calls that a tagged file refuses: what the
 * kernel (or libc) refuses of an untagged file, it refuses of a tagged one with the same errno. */
#include "common.h"
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <linux/openat2.h>

#define FCHMODAT2 452
#define SETXATTRAT 463
#define REMOVEXATTRAT 466
#define FILE_GETATTR 468
#define FILE_SETATTR 469
#define BIT(n) ((uint64_t)1 << (n))

static struct {
	struct file_handle head;
	char room[MAX_HANDLE_SZ];
} handle;

static int opened_by(uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
	return closing(syscall(SYS_openat2, AT_FDCWD, "file", &how, sizeof how));
}

static long open_with(unsigned flags) { return closing(open("file", flags, 0600)); }
static long openat_with(unsigned flags) { return closing(openat(DIR_FD, "file", flags, 0600)); }
static long open_by_number(unsigned flags) { return closing(syscall(SYS_open, "file", flags, 0600)); }
static long open_by_handle(unsigned flags) { return closing(open_by_handle_at(DIR_FD, &handle.head, flags)); }

/* Opening with O_TRUNC, and these flags besides. */
static void open_rows(const char *name, long (*call)(unsigned))
{
	static const struct {
		const char *name;
		unsigned flags;
	} with[] = {{"O_RDWR", O_RDWR}, {"O_RDONLY", O_RDONLY}, {"O_CREAT", O_RDWR | O_CREAT}, {"O_DIRECTORY", O_RDWR | O_DIRECTORY}};
	for (size_t i = 0; i < sizeof with / sizeof *with; i++)
		for (int bit = 0; bit < 32; bit++)
			STEP(call(O_TRUNC | with[i].flags | BIT(bit)), "%s %s, bit %d", name, with[i].name, bit);
}

static void openat2_rows(void)
{
	struct open_how how = {.flags = O_RDWR | O_TRUNC};
	struct {
		struct open_how how;
		char more[PAGE];
	} longer = {.how = how};
	for (int bit = 0; bit < 64; bit++) {
		STEP(opened_by(how.flags | BIT(bit), 0, 0), "openat2 flags, bit %d", bit);
		STEP(opened_by(how.flags | O_CREAT | BIT(bit), 0600, 0), "openat2 flags with O_CREAT, bit %d", bit);
		STEP(opened_by(how.flags, BIT(bit), 0), "openat2 mode, bit %d", bit);
		STEP(opened_by(how.flags | O_CREAT, BIT(bit), 0), "openat2 mode with O_CREAT, bit %d", bit);
		STEP(opened_by(how.flags, 0, BIT(bit)), "openat2 resolve, bit %d", bit);
		STEP(opened_by(how.flags, 0, RESOLVE_BENEATH | BIT(bit)), "openat2 resolve beneath, bit %d", bit);
	}
	static const size_t sizes[] = {0, 8, 16, 23, 24, 25, 32, 64, PAGE, PAGE + 1, SIZE_MAX};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		longer.more[0] = 0;
		STEP(closing(syscall(SYS_openat2, AT_FDCWD, "file", &longer, sizes[i])), "openat2 of size %zu", sizes[i]);
		longer.more[0] = 1;
		STEP(closing(syscall(SYS_openat2, AT_FDCWD, "file", &longer, sizes[i])), "openat2 of size %zu, more said", sizes[i]);
	}
	STEP(closing(syscall(SYS_openat2, AT_FDCWD, "file", 8, sizeof how)), "openat2 at a bad pointer");
	STEP(closing(syscall(SYS_openat2, AT_FDCWD, 8, &how, sizeof how)), "openat2 of a bad path");
}

static long spliced(unsigned flags)
{
	int ends[2];
	loff_t offset = 0;
	if (pipe(ends) || write(ends[1], "WXYZ", 4) != 4)
		die("pipe");
	long result = splice(ends[0], NULL, FD(RDWR), &offset, 4, flags);
	int error = errno;
	close(ends[0]);
	close(ends[1]);
	errno = error;
	return result;
}

static long copied(unsigned flags)
{
	loff_t from = 0, to = 0;
	return copy_file_range(FD(PLAIN), &from, FD(RDWR), &to, 4, flags);
}

static long submitted(aio_context_t context, uint32_t flags)
{
	struct iocb block = {.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = FD(RDWR), .aio_buf = (uintptr_t)"WXYZ", .aio_nbytes = 4, .aio_rw_flags = flags};
	struct iocb *blocks[] = {&block};
	struct io_event event;
	long result = syscall(SYS_io_submit, context, 1, blocks);
	int error = errno;
	if (result == 1 && raw(SYS_io_getevents, context, 1, 1, &event, NULL) == 1 && event.res < 0) {
		errno = -event.res;
		return -1;
	}
	errno = error;
	return result;
}

static void rows(void)
{
	struct iovec vector = {"WXYZ", 4};
	struct timespec times[2] = {{1, 0}, {1, 0}};
	struct {
		const void *value;
		uint32_t size, flags;
	} attribute = {"new", 3, 0};
	uint64_t attributes[3];
	aio_context_t context = 0;
	if (raw(SYS_io_setup, 1, &context))
		die("io_setup");
	for (int bit = 0; bit < 32; bit++) {
		unsigned flags = BIT(bit);
		STEP(fallocate(FD(RDWR), flags, 0, PAGE), "fallocate, bit %d", bit);
		STEP(fallocate(FD(RDWR), FALLOC_FL_KEEP_SIZE | flags, 0, PAGE), "fallocate KEEP_SIZE, bit %d", bit);
		STEP(fallocate(FD(RDWR), FALLOC_FL_PUNCH_HOLE | flags, 0, PAGE), "fallocate PUNCH_HOLE, bit %d", bit);
		STEP(fallocate(FD(RDWR), FALLOC_FL_ZERO_RANGE | flags, 0, PAGE), "fallocate ZERO_RANGE, bit %d", bit);
		STEP(fallocate(FD(RDONLY), flags, 0, PAGE), "fallocate O_RDONLY, bit %d", bit);
		STEP(spliced(flags), "splice, bit %d", bit);
		STEP(copied(flags), "copy_file_range, bit %d", bit);
		STEP(pwritev2(FD(RDWR), &vector, 1, 0, flags), "pwritev2, bit %d", bit);
		STEP(pwritev2(FD(RDWR), &vector, 1, 0, RWF_APPEND | flags), "pwritev2 RWF_APPEND, bit %d", bit);
		STEP(syscall(SYS_pwritev2, FD(RDWR), &vector, 1, 0, 0, flags), "pwritev2 by number, bit %d", bit);
		STEP(pwritev2(FD(RDONLY), &vector, 1, 0, flags), "pwritev2 O_RDONLY, bit %d", bit);
		STEP(submitted(context, flags), "io_submit, bit %d", bit);
		STEP(fchmodat(DIR_FD, "file", 0600, flags), "fchmodat, bit %d", bit);
		STEP(syscall(FCHMODAT2, DIR_FD, "file", 0600, flags), "fchmodat2, bit %d", bit);
		STEP(fchownat(DIR_FD, "file", 1, 1, flags), "fchownat, bit %d", bit);
		STEP(utimensat(DIR_FD, "file", times, flags), "utimensat, bit %d", bit);
		STEP(syscall(SYS_utimensat, FD(RDWR), NULL, times, flags), "utimensat by number, no path, bit %d", bit);
		STEP(setxattr("file", "user.test", "new", 3, flags), "setxattr, bit %d", bit);
		STEP(setxattr("file", "user.present", "new", 3, flags), "setxattr of one that is there, bit %d", bit);
		STEP(fsetxattr(FD(RDWR), "user.test", "new", 3, flags), "fsetxattr, bit %d", bit);
		STEP(syscall(SETXATTRAT, DIR_FD, "file", flags, "user.test", &attribute, 16), "setxattrat, bit %d", bit);
		attribute.flags = flags;
		STEP(syscall(SETXATTRAT, DIR_FD, "file", 0, "user.test", &attribute, 16), "setxattrat's own, bit %d", bit);
		attribute.flags = 0;
		STEP(syscall(REMOVEXATTRAT, DIR_FD, "file", flags, "user.present"), "removexattrat, bit %d", bit);
		/* As they are shown, with another flag; the tag's own are not the kernel's. */
		uint64_t before[3] = {0};
		bool natively = !getenv("LD_PRELOAD");
		syscall(FILE_GETATTR, DIR_FD, "file", before, sizeof before, 0);
		memcpy(attributes, before, sizeof attributes);
		attributes[0] ^= FS_XFLAG_NODUMP;
		STEP(syscall(FILE_SETATTR, DIR_FD, "file", attributes, sizeof attributes, flags), "file_setattr, bit %d", bit);
		if (natively)
			raw(FILE_SETATTR, DIR_FD, "file", before, sizeof before, 0);
		STEP(linkat(DIR_FD, "file", DIR_FD, "new", flags), "linkat, bit %d", bit);
		STEP(unlinkat(DIR_FD, "file", flags), "unlinkat, bit %d", bit);
		STEP(renameat2(DIR_FD, "file", DIR_FD, "new", flags), "renameat2, bit %d", bit);
		STEP(renameat2(DIR_FD, "file", DIR_FD, "plain", flags), "renameat2 over plain, bit %d", bit);
		STEP(renameat2(DIR_FD, "file", DIR_FD, "plain", RENAME_EXCHANGE | flags), "renameat2 EXCHANGE, bit %d", bit);
	}
}

int main(int argc, char **argv)
{
	int mount;
	begin(argc, argv);
	handle.head.handle_bytes = MAX_HANDLE_SZ;
	if (raw(SYS_name_to_handle_at, AT_FDCWD, "file", &handle, &mount, 0))
		die("name_to_handle_at");
	open_descriptors();
	open_rows("open", open_with);
	open_rows("openat", openat_with);
	open_rows("open by number", open_by_number);
	open_rows("open_by_handle_at", open_by_handle);
	openat2_rows();
	rows();
	return end();
}
