/* Whoever puts himself under a filter that kills, is killed for nothing that he did not call himself; what was
 * known as tagged by then stays refused. However the filter is set up, and by whichever thread. */
#include "filters.h"
#include <semaphore.h>

static int (*prctl_)(int, ...);
static int (*libc_prctl)(int, ...);
static int file, plain;
static char *map;

static struct sock_filter list[] = {
	BEGIN, ALLOW(write), ALLOW(pwrite64), ALLOW(openat), ALLOW(open), ALLOW(close), ALLOW(ftruncate), ALLOW(fchmod),
	ALLOW(chmod), ALLOW(utimensat), ALLOW(fsetxattr), ALLOW(msync), ALLOW(fsync), ALLOW(mmap), ALLOW(munmap),
	ALLOW(dup), ALLOW(clone), ALLOW(wait4), ALLOW(set_robust_list), ALLOW(exit), ALLOW(exit_group), ALLOW(prctl),
	ALLOW(fallocate), ALLOW(madvise), ALLOW(seccomp), ALLOW(execve), ALLOW(futex), KILL,
};
static struct sock_fprog filter = {sizeof list / sizeof *list, list};

static long by_symbol(void)
{
	return prctl_(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

static long by_number(void)
{
	return syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0);
}

static long by_handle(void)
{
	return libc_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

static long by_seccomp(void)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}

static int begun;

static void *in_thread(void *result)
{
	static sem_t never;
	/* pthread_create has calls to make yet. */
	while (!__atomic_load_n(&begun, __ATOMIC_ACQUIRE))
		;
	long set_up = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
	__atomic_store_n((long *)result, set_up, __ATOMIC_RELEASE);
	while (!sem_wait(&never))
		;
	return NULL;
}

static long by_thread(void)
{
	static long result = 1;
	pthread_t thread;
	if (pthread_create(&thread, NULL, in_thread, &result))
		return -1;
	__atomic_store_n(&begun, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&result, __ATOMIC_ACQUIRE) == 1)
		;
	return result;
}

/* A first attempt fails, and changes nothing. */
static long after_failure(void)
{
	struct sock_fprog none = {0, NULL};
	SAY(prctl_(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &none), "an empty filter");
	SAY(prctl_(PR_SET_SECCOMP, 77, &filter), "an unknown mode");
	SAY(syscall(SYS_seccomp, 77, 0, NULL), "an unknown operation");
	SAY(truncate("file", 10), "truncate the file");
	SAY(prctl_(PR_GET_SECCOMP), "whether there is one");
	return by_symbol();
}

static const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};

static void sandboxed(void)
{
	SAY(write(plain, "x", 1), "write to plain");
	SAY(write(file, "WXYZ", 4), "write to the file");
	SAY(pwrite(file, "WXYZ", 4, 0), "pwrite to the file");
	SAY(ftruncate(file, 10), "ftruncate");
	SAY(ftruncate(file, -1), "ftruncate to -1");
	SAY(fallocate(file, 0, 0, 4096), "fallocate");
	SAY(fchmod(file, 0600), "fchmod");
	SAY(futimens(file, now), "futimens");
	SAY(fsetxattr(file, "user.test", "1", 1, 0), "fsetxattr");
	SAY(fsync(file), "fsync");
	SAY(map ? msync(map, PAGE, MS_SYNC) : 0, "msync");
	SAY(chmod("plain", 0600), "chmod plain");
	SAY(chmod("missing", 0600), "chmod what is missing");
	int fd = open("new", O_CREAT | O_RDWR | O_TRUNC, 0600);
	SAY(fd < 0, "open a new file");
	SAY(write(fd, "x", 1), "write to it");
	SAY(fchmod(fd, 0640), "fchmod it");
	SAY(close(fd), "close it");
	SAY(close(file), "close the file");
	SAY(open("plain", O_RDWR) != file, "plain under its number");
	SAY(write(file, "x", 1), "write to that");
	SAY(munmap(map, FILE_SIZE), "munmap");
	char *again = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	SAY(again == MAP_FAILED, "map plain");
	SAY(msync(again, PAGE, MS_SYNC), "msync plain");
	int pid = fork();
	if (!pid) {
		SAY(write(plain, "x", 1), "write by a child");
		_exit(0);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	say("%s: the child ends with %d\n", stage, status);
}

static long in_sandbox(const char *name, long (*set_up)(void))
{
	stage = name;
	return IN_CHILD(({
		file = open("file", O_RDWR);
		plain = open("plain", O_RDWR);
		map = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		SAY(prctl_(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
		SAY(set_up(), "set up");
		sandboxed();
		0;
	}));
}

/* read, write, exit and sigreturn, and the time-stamp counter is off. */
static long strict(void)
{
	stage = "strict mode";
	return IN_CHILD(({
		file = open("file", O_RDWR);
		plain = open("plain", O_RDWR);
		SAY(prctl_(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), "set up");
		SAY(write(plain, "x", 1), "write to plain");
		SAY(write(file, "WXYZ", 4), "write to the file");
		raw(SYS_exit, 0);
		0;
	}));
}

/* The time-stamp counter alone: looks go on. */
static long without_counter(void)
{
	stage = "without counter";
	return IN_CHILD(({
		SAY(prctl_(26 /* PR_SET_TSC */, 2 /* PR_TSC_SIGSEGV */), "off");
		file = open("file", O_RDWR);
		map = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		SAY(msync(map, FILE_SIZE, MS_SYNC), "msync");
		SAY(fsync(file), "fsync");
		SAY(write(file, "WXYZ", 4), "write to the file");
		SAY(chmod("file", 0600), "chmod");
		SAY(chmod("plain", 0644), "chmod plain");
		SAY(IN_CHILD(chmod("plain", 0644)), "chmod plain by a child");
		0;
	}));
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	prctl_ = symbol;
	libc_prctl = dlsym(dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), "prctl");
	STEP(in_sandbox("by symbol", by_symbol), "by symbol");
	STEP(in_sandbox("by number", by_number), "by number");
	STEP(in_sandbox("by libc's handle", by_handle), "by libc's handle");
	STEP(in_sandbox("by seccomp", by_seccomp), "by seccomp");
	STEP(in_sandbox("by a thread", by_thread), "by a thread");
	STEP(in_sandbox("after failures", after_failure), "after failures");
	STEP(strict(), "strict mode");
	STEP(without_counter(), "without counter");
	STEP(prctl_(PR_GET_DUMPABLE), "another option");
	return end();
}
