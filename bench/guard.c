/* What calls cost, in instructions, where the clock counts them (scripts/vm --icount): on files of two
 * directories, tmpfs and fs-DAX. Usage: guard PLAIN DAX [FILE that refuses to be written] */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CALLS 2000

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000L + time.tv_nsec;
}

/* The first are not counted. */
#define MEASURE(what, where, call)                                                                                     \
	do {                                                                                                           \
		long begin_ = 0;                                                                                       \
		for (int i_ = -CALLS / 10; i_ < CALLS; i_++) {                                                         \
			if (i_ == 0)                                                                                   \
				begin_ = now();                                                                        \
			if (!(call))                                                                                   \
				die(what);                                                                             \
		}                                                                                                      \
		printf("%s, %s: %ld\n", what, where, (now() - begin_) / CALLS);                                        \
	} while (0)

static void measure(const char *where, const char *directory)
{
	char name[4096], byte = 'x';
	snprintf(name, sizeof name, "%s/guard-bench", directory);
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600), opened, size;
	if (fd < 0 || pwrite(fd, &byte, 1, 0) != 1)
		die(name);
	MEASURE("write of a byte", where, pwrite(fd, &byte, 1, 0) == 1);
	MEASURE("read of a byte", where, pread(fd, &byte, 1, 0) == 1);
	MEASURE("open and close", where, (opened = open(name, O_RDWR)) >= 0 && close(opened) == 0);
	MEASURE("fchmod", where, fchmod(fd, 0600) == 0);
	MEASURE("ioctl FIGETBSZ", where, ioctl(fd, FIGETBSZ, &size) == 0);
	MEASURE("fstat", where, fstat(fd, &(struct stat){0}) == 0);
	close(fd);
	unlink(name);
}

int main(int argc, char **argv)
{
	char byte = 'x';
	if (argc < 3)
		return 2;
	measure("tmpfs", argv[1]);
	measure("fs-DAX", argv[2]);
	if (argc > 3) {
		int fd = open(argv[3], O_RDWR);
		MEASURE("write that is refused", "held file", pwrite(fd, &byte, 1, 0) == -1 && errno == EPERM);
		MEASURE("read of a byte", "held file", pread(fd, &byte, 1, 0) == 1);
	}
	return 0;
}
