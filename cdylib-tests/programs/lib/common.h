/* What the programs share: the scene, one line per step, and what changed with it.
 *
 * Started as PROGRAM SYMBOL DIR, in DIR. The scene that the harness laid out there:
 *   file       16 KiB, mode 644, user.present=yes; the file that may be tagged
 *   hardlink   its second name
 *   symlink    -> file        dangling -> new      loop -> loop
 *   plain      100 bytes, never tagged
 *   sub/inner  -> ../file
 * After each step the scene is put back (behind the hooks), so that steps are independent.
 */
#ifndef COMMON_H
#define COMMON_H

#include "descriptors.h"
#include "routes.h"
#include "step.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The function under test by its system call instead. */
static long system_call;
static long through_number(long a, long b, long c, long d, long e, long f)
{
	return syscall(system_call, a, b, c, d, e, f);
}

static void raw_open_as(int number, const char *path, int flags)
{
	int fd = raw(SYS_openat, AT_FDCWD, path, flags, 0);
	if (fd < 0 || raw(SYS_dup3, fd, number, 0) < 0)
		die(path);
	raw(SYS_close, fd);
}

static void UNUSED begin(int argc, char **argv)
{
	static char absolute[PATH_MAX], component[300], longest[PATH_MAX + 300];
	if (argc < 3)
		exit(2);
	arguments = argv;
	dir = argv[2];
	symbol = dlsym(RTLD_DEFAULT, argv[1]);
	if (!symbol)
		die(argv[1]);
	depths = getenv("DEPTHS");
	if (getenv("BY_NUMBER")) {
		system_call = atol(getenv("BY_NUMBER"));
		symbol = through_number;
	}
	alarm(300);
	umask(022);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	/* What was inherited; 50 is handed on by a program that executes itself. */
	raw(SYS_close_range, 3, 49, 0);
	raw(SYS_close_range, 51, ~0u, 0);

	raw_open_as(FILE_FD, "file", O_RDONLY);
	raw_open_as(OPATH_FD, "file", O_PATH);
	raw_open_as(DIR_FD, ".", O_RDONLY | O_DIRECTORY);
	raw_open_as(DIR_OPATH_FD, ".", O_PATH);
	raw_open_as(SUB_FD, "sub", O_RDONLY | O_DIRECTORY);

	snprintf(absolute, sizeof absolute, "%s/file", dir);
	memset(component, 'x', sizeof component - 1);
	memset(longest, '/', sizeof longest - 5);
	strcpy(longest + sizeof longest - 5, "file");
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || munmap(pages + PAGE, PAGE))
		die("mmap");
	memcpy(pages + PAGE - 4, "file", 4);
	FOR_ROUTES(r) {
		if (!strcmp(r->name, "absolute"))
			r->path = absolute;
		else if (!strcmp(r->name, "unterminated"))
			r->path = pages + PAGE - 4;
		else if (!strcmp(r->name, "long component"))
			r->path = component;
		else if (!strcmp(r->name, "long path"))
			r->path = longest;
	}
	FOR_AT_ROUTES(r)
		if (strstr(r->name, ", absolute"))
			r->path = absolute;
	for (size_t i = 0; i < WATCHED; i++)
		before[i] = scene[i] = look(watched[i]);
}

static int UNUSED end(void)
{
	fflush(stdout);
	return 0;
}

#endif
