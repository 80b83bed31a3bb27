/* What was mapped when the file was longer: msync of it is 0; a cache line written back there is SIGBUS. */
#include "common.h"
#include "daxshim.h"

#define RW (PROT_READ | PROT_WRITE)

static int (*msync_)(void *, size_t, int);

static char *mapped(void)
{
	int fd = open("file", O_RDWR);
	char *p = mmap(NULL, FILE_SIZE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	memset(p, '!', FILE_SIZE);
	if (msync_(p, FILE_SIZE, MS_SYNC))
		die("msync");
	close(fd);
	return p;
}

static void *cut(void *descriptor)
{
	return ftruncate(*(int *)descriptor, 100) ? (void *)(long)errno : NULL;
}

static int in_thread(int fd)
{
	pthread_t thread;
	void *result;
	if (pthread_create(&thread, NULL, cut, &fd) || pthread_join(thread, &result))
		die("pthread_create");
	if (result)
		errno = (long)result;
	return result ? -1 : 0;
}

/* Where it was cut off, in a child too, and where it was not; then all of it, after the file has its size again. */
#define CUT(call, ...)                                                                                                 \
	do {                                                                                                           \
		char *p;                                                                                               \
		STEP((p = mapped()) == MAP_FAILED, "mapped, for " __VA_ARGS__);                                        \
		STEP(call, __VA_ARGS__);                                                                               \
		STEP(msync_(p + PAGE, 2 * PAGE, MS_SYNC), "  then msync beyond the end after " __VA_ARGS__);           \
		STEP(msync_(p, FILE_SIZE, MS_SYNC), "  then msync over the end after " __VA_ARGS__);                   \
		STEP(daxshim_needs_msync(p + 2 * PAGE, PAGE), "  needs msync after " __VA_ARGS__);                     \
		STEP(fsync(fd) | fdatasync(fd), "  then fsync after " __VA_ARGS__);                                    \
		STEP(daxshim_persist(p + PAGE, 2 * PAGE), "  then daxshim_persist after " __VA_ARGS__);                \
		STEP(IN_CHILD(msync_(p + PAGE, 2 * PAGE, MS_SYNC)), "  then msync in a child after " __VA_ARGS__);     \
		STEP(ftruncate(fd, FILE_SIZE), "  its size again after " __VA_ARGS__);                                 \
		STEP((p[2 * PAGE] = '?', msync_(p, FILE_SIZE, MS_SYNC)), "  then msync of all after " __VA_ARGS__);    \
		munmap(p, FILE_SIZE);                                                                                  \
	} while (0)

int main(int argc, char **argv)
{
	begin(argc, argv);
	msync_ = symbol;
	keep = true;
	setvbuf(stdout, NULL, _IOLBF, 1 << 16); /* a crash shows where */
	int fd = open("file", O_RDWR), copy = dup(fd);
	CUT(ftruncate(fd, 100), "ftruncate");
	CUT(ftruncate(copy, 0), "ftruncate of a dup to 0");
	CUT(truncate("symlink", PAGE), "truncate by a symlink");
	CUT(truncate("hardlink", PAGE - 1), "truncate by a hard link");
	CUT(in_thread(fd), "ftruncate in a thread");
	CUT(syscall(SYS_ftruncate, fd, 100L), "ftruncate by number");
	CUT(closing(open("file", O_RDWR | O_TRUNC)) < 0 ? -1 : 0, "O_TRUNC");
	CUT(closing(creat("file", 0644)) < 0 ? -1 : 0, "creat");
	FILE *stream = NULL;
	CUT((stream = fopen("file", "w")) ? fclose(stream) : -1, "fopen w");
	return end();
}
