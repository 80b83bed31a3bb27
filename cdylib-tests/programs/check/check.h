/* What the programs for `daxshim check` share. Started as PROGRAM wrong|right DIR: the bug, or its
 * corrected twin. `file` there has four pages, `tail` a page and a bit, `big` 64 pages. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define RW (PROT_READ | PROT_WRITE)
#define UNUSED __attribute__((unused))
#define NOINLINE __attribute__((noinline, noclone))

static bool wrong;

static void must(bool well, const char *what)
{
	if (!well) {
		fprintf(stderr, "the program itself failed: %s: %s\n", what, strerror(errno));
		_exit(99);
	}
}

static void begin(int argc, char **argv)
{
	must(argc == 3 && chdir(argv[2]) == 0, "usage");
	wrong = strcmp(argv[1], "wrong") == 0;
}

static UNUSED int opened(const char *name)
{
	int fd = open(name, O_RDWR);
	must(fd >= 0, name);
	return fd;
}

static UNUSED char *mapped(const char *name, long pages)
{
	int fd = opened(name);
	char *p = mmap(NULL, pages * PAGE, RW, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED, "mmap");
	close(fd);
	return p;
}

static UNUSED void sync_range(char *p, long pages)
{
	must(msync(p, pages * PAGE, MS_SYNC) == 0, "msync");
}

/* Forks: true in the child, and false in its parent when the child has ended. */
static UNUSED bool in_child(void)
{
	pid_t child = fork();
	must(child >= 0, "fork");
	if (child == 0)
		return true;
	must(waitpid(child, NULL, 0) == child, "waitpid");
	return false;
}

#endif
