/* One call on an untagged subject between two breakpoints, for the tracer of tests/costs.rs: what
 * it costs in system calls. Started as PROGRAM SYMBOL DIR CASE WARM-UPS: the call is made that often
 * before, on the same descriptor or path. */
#include "common.h"

static int fd, sink;
static char *map;
static FILE *stream;
static char page[PAGE];
static struct iovec vector = {page, 64};

static long do_write(void) { return write(fd, page, 64); }
static long do_pwrite(void) { return pwrite(fd, page, 64, 0); }
static long do_writev(void) { return writev(fd, &vector, 1); }
static long do_write_null(void) { return write(sink, page, 64); }
static long do_fflush(void) { return fwrite(page, 1, 64, stream) == 64 ? fflush(stream) : -1; }
static long do_ftruncate(void) { return ftruncate(fd, PLAIN_SIZE); }
static long do_fallocate(void) { return fallocate(fd, 0, 0, PLAIN_SIZE); }
static long do_read(void) { return pread(fd, page, 64, 0); }
static long do_lseek(void) { return lseek(fd, 0, SEEK_SET) < 0; }
static long do_getfl(void) { return fcntl(fd, F_GETFL) < 0; }
static long do_dup(void) { return dup(fd) < 0; }
static long do_close(void) { return close(raw(SYS_dup, fd)); }
static long do_fsync(void) { return fsync(fd); }
static long do_fdatasync(void) { return fdatasync(fd); }
static long do_msync(void) { return msync(map, PAGE, MS_SYNC); }
static long do_mprotect(void) { return mprotect(map, PAGE, PROT_READ | PROT_WRITE); }
static long do_madvise(void) { return madvise(map, PAGE, MADV_NORMAL); }
static long do_mmap_anonymous(void)
{
	return mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}
static long do_mmap_private(void) { return mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED; }
static long do_mmap_shared(void)
{
	return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED;
}
static long do_munmap(void) { return munmap((void *)raw(SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE); }
static long do_open_read(void) { return open("plain", O_RDONLY) < 0; }
static long do_open_write(void) { return open("plain", O_RDWR) < 0; }
static long do_open_truncate(void) { return open("new", O_WRONLY | O_CREAT | O_TRUNC, 0600) < 0; }
static long do_fopen_read(void) { return fopen("plain", "r") == NULL; }
static long do_stat(void)
{
	struct stat st;
	return stat("plain", &st);
}
static long do_chmod(void) { return chmod("plain", 0600); }
static long do_fchmod(void) { return fchmod(fd, 0600); }
static long do_chown(void) { return chown("plain", -1, -1); }
static long do_truncate(void) { return truncate("plain", 50); }
static long do_utimensat(void) { return utimensat(AT_FDCWD, "plain", NULL, 0); }
static long do_setxattr(void) { return setxattr("plain", "user.test", "x", 1, 0); }
static long do_rename(void) { return rename("plain", "plain"); }
static long do_link(void) { return link("plain", "missing/new") == -1 ? 0 : -1; }
static long do_unlink(void) { return unlink("missing/new") == -1 ? 0 : -1; }

#define CASE(name) {#name, do_##name}
static const struct {
	const char *name;
	long (*call)(void);
} cases[] = {
    CASE(write), CASE(pwrite), CASE(writev), CASE(write_null), CASE(fflush), CASE(ftruncate),
    CASE(fallocate), CASE(read), CASE(lseek), CASE(getfl), CASE(dup), CASE(close), CASE(fsync),
    CASE(fdatasync), CASE(msync), CASE(mprotect), CASE(madvise), CASE(mmap_anonymous),
    CASE(mmap_private), CASE(mmap_shared), CASE(munmap), CASE(open_read), CASE(open_write),
    CASE(open_truncate), CASE(fopen_read), CASE(stat), CASE(chmod), CASE(fchmod), CASE(chown),
    CASE(truncate), CASE(utimensat), CASE(setxattr), CASE(rename), CASE(link), CASE(unlink),
};

int main(int argc, char **argv)
{
	begin(argc, argv);
	long (*call)(void) = NULL;
	for (size_t i = 0; argc > 4 && i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(cases[i].name, argv[3]))
			call = cases[i].call;
	if (!call)
		die("no such case");
	fd = raw(SYS_openat, AT_FDCWD, "plain", O_RDWR, 0);
	sink = raw(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
	map = (char *)raw(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	/* Its buffer is there before the call. */
	stream = fdopen(raw(SYS_openat, AT_FDCWD, "plain", O_RDWR, 0), "w");
	setvbuf(stream, malloc(PAGE), _IOFBF, PAGE);
	for (int i = atoi(argv[4]); i > 0; i--)
		if (call() < 0)
			die(argv[3]);

	__asm__ volatile("int3" ::: "memory");
	long result = call();
	__asm__ volatile("int3" ::"a"(result) : "memory");
	return end();
}
