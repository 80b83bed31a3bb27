#include "common.h"
#include <linux/futex.h>
#include <linux/openat2.h>
#include <utime.h>

#define SYS_FCHMODAT2 452
#define SYS_SETXATTRAT 463
#define SYS_REMOVEXATTRAT 466
#define FICLONE_ 0x40049409

int main(int argc, char **argv)
{
	begin(argc, argv);
	long (*call)(long, ...) = symbol;
	struct iovec two[] = {{"WX", 2}, {"YZ", 2}};
	struct timespec times[] = {{5, 6}, {7, 8}}, neither[] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
	struct timeval micro[] = {{5, 6}, {7, 8}};
	struct utimbuf seconds = {5, 7};
	struct open_how truncating = {.flags = O_RDWR | O_TRUNC}, reading = {.flags = O_RDONLY},
			beneath = {.flags = O_RDWR | O_TRUNC, .resolve = RESOLVE_BENEATH};
	struct {
		uint64_t value;
		uint32_t size, flags;
	} attribute = {(uint64_t)(uintptr_t)"v", 1, 0};
	loff_t at;
	int ends[2], number = 1;
	open_descriptors();
	if (pipe2(ends, O_NONBLOCK) || write(ends[1], "WXYZ", 4) != 4)
		die("pipe2");

	FOR_DESCRIPTORS(d) {
		STEP(call(SYS_write, d->fd, "WXYZ", 4), "write %s", d->name);
		STEP(call(SYS_pwrite64, d->fd, "WXYZ", 4, 64), "pwrite64 %s", d->name);
		STEP(call(SYS_writev, d->fd, two, 2), "writev %s", d->name);
		STEP(call(SYS_pwritev, d->fd, two, 2, 64, 0), "pwritev %s", d->name);
		STEP(call(SYS_pwritev2, d->fd, two, 2, 64, 0, 0), "pwritev2 %s", d->name);
		STEP(call(SYS_ftruncate, d->fd, 10), "ftruncate %s", d->name);
		STEP(call(SYS_fallocate, d->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0L, (long)PAGE), "fallocate %s", d->name);
		STEP(call(SYS_fchmod, d->fd, 0600), "fchmod %s", d->name);
		STEP(call(SYS_read, d->fd, (char[4]){0}, 0), "read %s", d->name);
		STEP(call(SYS_lseek, d->fd, 0, SEEK_CUR) >= 0 ? 0 : -1, "lseek %s", d->name);
	}
	lseek(FD(PLAIN), 0, SEEK_SET);
	FOR_ROUTES(r) {
		STEP(closing(call(SYS_open, r->path, O_RDWR | O_TRUNC)), "open O_TRUNC %s", r->name);
		STEP(closing(call(SYS_openat, AT_FDCWD, r->path, O_RDWR | O_TRUNC)), "openat O_TRUNC %s", r->name);
		STEP(closing(call(SYS_openat2, AT_FDCWD, r->path, &truncating, sizeof truncating)), "openat2 O_TRUNC %s", r->name);
		STEP(closing(call(SYS_creat, r->path, 0600)), "creat %s", r->name);
		STEP(call(SYS_truncate, r->path, 10), "truncate %s", r->name);
		STEP(call(SYS_unlink, r->path), "unlink %s", r->name);
		STEP(call(SYS_rename, r->path, "new"), "rename %s", r->name);
		STEP(call(SYS_link, r->path, "new"), "link %s", r->name);
		STEP(call(SYS_chmod, r->path, 0600), "chmod %s", r->name);
		STEP(call(SYS_setxattr, r->path, "user.test", "v", 1, 0), "setxattr %s", r->name);
	}
	STEP(closing(call(SYS_open, "new", O_RDWR | O_CREAT, 0640)), "open O_CREAT, mode 640");
	STEP(closing(call(SYS_openat, DIR_FD, "file", O_RDONLY)), "openat O_RDONLY");
	STEP(closing(call(SYS_openat2, DIR_FD, "file", &reading, sizeof reading)), "openat2 O_RDONLY");
	STEP(closing(call(SYS_openat2, DIR_FD, "file", &truncating, sizeof truncating)), "openat2 O_TRUNC, dirfd");
	STEP(closing(call(SYS_openat2, SUB_FD, "inner", &beneath, sizeof beneath)), "openat2 O_TRUNC, RESOLVE_BENEATH leaves");
	STEP(closing(call(SYS_openat2, DIR_FD, "sub/inner", &beneath, sizeof beneath)), "openat2 O_TRUNC, RESOLVE_BENEATH stays");
	STEP(closing(call(SYS_openat2, DIR_FD, "file", (void *)8, sizeof truncating)), "openat2, how at a bad pointer");
	STEP(closing(call(SYS_openat2, DIR_FD, "file", &truncating, 8)), "openat2, how too small");
	STEP(call(SYS_fchmodat, DIR_FD, "file", 0600), "fchmodat");
	STEP(call(SYS_FCHMODAT2, DIR_FD, "file", 0600, 0), "fchmodat2");
	STEP(call(SYS_FCHMODAT2, DIR_FD, "plain", 0600, 0), "fchmodat2 plain");
	STEP(call(SYS_FCHMODAT2, FILE_FD, "", 0600, AT_EMPTY_PATH), "fchmodat2 EMPTY_PATH");
	STEP(call(SYS_chown, "file", 1, 2), "chown");
	STEP(call(SYS_fchownat, DIR_FD, "file", 1, 2, 0), "fchownat");
	STEP(call(SYS_unlinkat, DIR_FD, "file", 0), "unlinkat");
	STEP(call(SYS_renameat2, DIR_FD, "plain", DIR_FD, "file", 0), "renameat2 over it");
	STEP(call(SYS_renameat2, DIR_FD, "plain", DIR_FD, "file", 1), "renameat2 NOREPLACE");
	STEP(call(SYS_linkat, FILE_FD, "", DIR_FD, "new", AT_EMPTY_PATH), "linkat EMPTY_PATH");
	STEP(call(SYS_utimensat, DIR_FD, "file", times, 0), "utimensat");
	STEP(call(SYS_utimensat, FD(RDONLY), NULL, NULL, 0), "utimensat, no path");
	STEP(call(SYS_utimensat, FD(RDONLY), NULL, NULL, AT_SYMLINK_NOFOLLOW), "utimensat, no path, NOFOLLOW");
	STEP(call(SYS_utimensat, DIR_FD, "file", neither, 0), "utimensat OMIT and OMIT");
	STEP(call(SYS_utime, "file", &seconds), "utime");
	STEP(call(SYS_utimes, "file", micro), "utimes");
	STEP(call(SYS_futimesat, DIR_FD, "file", micro), "futimesat");
	STEP(call(SYS_fsetxattr, FD(RDWR), "user.test", "v", 1, 0), "fsetxattr");
	STEP(call(SYS_removexattr, "file", "user.present"), "removexattr");
	STEP(call(SYS_SETXATTRAT, DIR_FD, "file", 0, "user.test", &attribute, sizeof attribute), "setxattrat");
	STEP(call(SYS_SETXATTRAT, FILE_FD, "", AT_EMPTY_PATH, "user.test", &attribute, sizeof attribute), "setxattrat EMPTY_PATH");
	STEP(call(SYS_SETXATTRAT, DIR_FD, "plain", 0, "user.test", &attribute, sizeof attribute), "setxattrat plain");
	STEP(call(SYS_SETXATTRAT, DIR_FD, "file", 0, "user.test", (void *)8, sizeof attribute), "setxattrat at a bad pointer");
	STEP(call(SYS_SETXATTRAT, DIR_FD, "file", 0, "user.test", &attribute, 1), "setxattrat, size 1");
	STEP(call(SYS_REMOVEXATTRAT, DIR_FD, "file", 0, "user.present"), "removexattrat");
	STEP(call(SYS_REMOVEXATTRAT, DIR_FD, "file", 0, "user.none"), "removexattrat, one it has not");
	STEP(call(SYS_ioctl, FD(RDWR), FICLONE_, FD(PLAIN)), "ioctl FICLONE");
	STEP(call(SYS_copy_file_range, FD(PLAIN), NULL, FD(RDWR), NULL, 4L, 0L), "copy_file_range to it");
	STEP(call(SYS_copy_file_range, FD(RDONLY), NULL, FD(PLAIN), NULL, 4L, 0L), "copy_file_range from it");
	lseek(FD(PLAIN), 0, SEEK_SET);
	STEP(call(SYS_sendfile, FD(RDWR), FD(PLAIN), NULL, 4), "sendfile to it");
	STEP(call(SYS_splice, ends[0], NULL, FD(RDWR), (at = 0, &at), 4L, 0L), "splice to it");
	STEP(call(1L << 32 | SYS_write, FD(RDWR), "WXYZ", 4), "write, its number with high bits");
	STEP(call(1L << 32 | SYS_write, FD(PLAIN), "WXYZ", 4), "write plain, its number with high bits");

	STEP(call(SYS_getpid) == getpid(), "getpid");
	STEP(call(SYS_gettid) == gettid(), "gettid");
	STEP(call(SYS_pread64, FD(RDONLY), (char[4]){0}, 4, 64), "pread64");
	STEP(call(SYS_read, FD(RDONLY), (void *)8, 4), "read to a bad pointer");
	STEP(call(SYS_lseek, FD(RDONLY), -1L, SEEK_SET), "lseek to -1");
	STEP(call(100000), "number 100000");
	STEP(call(-1L), "number -1");
	STEP(call(LONG_MIN), "the lowest number");

	/* All six arguments arrive. */
	char *p = (char *)call(SYS_mmap, NULL, (long)PAGE, (long)PROT_READ, (long)MAP_PRIVATE, (long)FD(RDONLY), (long)PAGE);
	STEP(p != MAP_FAILED && *p == original(PAGE), "mmap of the second page");
	STEP(call(SYS_munmap, p, (long)PAGE), "munmap");
	STEP(call(SYS_mmap, NULL, (long)PAGE, (long)PROT_READ, (long)MAP_PRIVATE, (long)FD(RDONLY), 1L), "mmap, offset 1");
	STEP(call(SYS_futex, &number, FUTEX_WAIT_BITSET, 2, NULL, NULL, ~0u), "futex, all bits");
	STEP(call(SYS_futex, &number, FUTEX_WAIT_BITSET, 2, NULL, NULL, 0), "futex, no bits");
	STEP(call(SYS_pselect6, 0, NULL, NULL, NULL, &(struct timespec){0, 0}, NULL), "pselect6");
	STEP(call(SYS_pselect6, 0, NULL, NULL, NULL, &(struct timespec){0, 0}, (void *)8), "pselect6, the sixth at a bad pointer");

	int copy = -1;
	STEP(copy = call(SYS_dup, FD(RDWR)), "dup");
	STEP(write(copy, "WXYZ", 4), "write to the dup");
	STEP(call(SYS_dup2, FD(PLAIN), copy), "dup2 plain over it");
	STEP(write(copy, "WXYZ", 4), "write to plain there");
	STEP(call(SYS_dup3, FD(RDWR), copy, O_CLOEXEC), "dup3 the file over that");
	STEP(write(copy, "WXYZ", 4), "write to the file there");
	STEP(call(SYS_close, copy), "close");
	STEP(open("plain", O_RDWR) == copy, "plain takes its number");
	STEP(write(copy, "WXYZ", 4), "write to plain after close");
	fflush(stdout);
	pid_t child = call(SYS_fork);
	if (child == 0)
		call(SYS_exit_group, call(SYS_write, FD(RDWR), "WXYZ", 4) == -1 ? errno : 0);
	STEP(ended(child), "write in a child made by fork");
	return end();
}
