/* Ways to name a file. */
#ifndef ROUTES_H
#define ROUTES_H

#include "program.h"
#include <fcntl.h>
#include <limits.h>

struct route {
	const char *name;
	const char *path;
};

static struct route UNUSED routes[] = {
	{"absolute", NULL},
	{"relative", "file"},
	{"dots", "./sub/../file"},
	{"symlink", "symlink"},
	{"symlink in sub", "sub/inner"},
	{"hard link", "hardlink"},
	{"/proc/self/fd", "/proc/self/fd/100"},
	{"/proc/self/fd of O_PATH", "/proc/self/fd/101"},
	{"plain", "plain"},
	{"trailing slash", "file/"},
	{"symlink, trailing slash", "symlink/"},
	{"below the file", "file/x"},
	{"missing", "missing"},
	{"missing directory", "missing/file"},
	{"dangling", "dangling"},
	{"loop", "loop"},
	{"directory", "sub"},
	{"empty", ""},
	{"NULL", NULL},
	{"bad pointer", (const char *)8},
	{"kernel pointer", (const char *)0xffff800000000000},
	{"unterminated", NULL},
	{"long component", NULL},
	{"long path", NULL},
};
#define FOR_ROUTES(r) for (struct route *r = routes; r < routes + sizeof routes / sizeof *routes; r++)

struct at_route {
	const char *name;
	int fd;
	const char *path;
};

/* Descriptors 100 and up belong to the scene, so that those of the steps count from 3. */
enum { FILE_FD = 100, OPATH_FD, DIR_FD, DIR_OPATH_FD, SUB_FD, CLOSED_FD };

static struct at_route UNUSED at_routes[] = {
	{"AT_FDCWD", AT_FDCWD, "file"},
	{"dirfd", DIR_FD, "file"},
	{"O_PATH dirfd", DIR_OPATH_FD, "file"},
	{"dirfd, symlink", DIR_FD, "symlink"},
	{"dirfd, hard link", DIR_FD, "hardlink"},
	{"dirfd, plain", DIR_FD, "plain"},
	{"dirfd, missing", DIR_FD, "missing"},
	{"sub and dots", SUB_FD, "../file"},
	{"sub and symlink", SUB_FD, "inner"},
	{"sub, not there", SUB_FD, "file"},
	{"descriptor is a file", FILE_FD, "file"},
	{"closed descriptor", CLOSED_FD, "file"},
	{"descriptor -1", -1, "file"},
	{"huge descriptor", INT_MAX, "file"},
	{"descriptor -1, absolute", -1, NULL},
	{"file as dirfd, absolute", FILE_FD, NULL},
	{"file, empty path", FILE_FD, ""},
	{"O_PATH, empty path", OPATH_FD, ""},
	{"dirfd, NULL", DIR_FD, (const char *)0},
	{"dirfd, bad pointer", DIR_FD, (const char *)8},
};
#define FOR_AT_ROUTES(r) for (struct at_route *r = at_routes; r < at_routes + sizeof at_routes / sizeof *at_routes; r++)

#endif
