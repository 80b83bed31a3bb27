/* Ways to hold a file. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include "routes.h"

struct descriptor {
	const char *name;
	int fd;
};

static struct descriptor UNUSED descriptors[] = {
	{"O_RDWR", -1},
	{"O_WRONLY", -1},
	{"O_WRONLY|O_APPEND", -1},
	{"O_RDONLY", -1},
	{"O_PATH", -1},
	{"one opened behind the hooks", -1},
	{"a dup", -1},
	{"plain", -1},
	{"a pipe", -1},
	{"a directory", DIR_FD},
	{"a closed one", CLOSED_FD},
	{"-1", -1},
	{"AT_FDCWD", AT_FDCWD},
	{"INT_MAX", INT_MAX},
	{"INT_MIN", INT_MIN},
};
#define FOR_DESCRIPTORS(d) for (struct descriptor *d = descriptors; d < descriptors + sizeof descriptors / sizeof *descriptors; d++)
enum { RDWR, WRONLY, APPEND, RDONLY, OPATH, RAW, DUP, PLAIN, PIPE };
#define FD(which) descriptors[which].fd

static void UNUSED open_descriptors(void)
{
	int ends[2];
	FD(RDWR) = open("file", O_RDWR);
	FD(WRONLY) = open("file", O_WRONLY);
	FD(APPEND) = open("file", O_WRONLY | O_APPEND);
	FD(RDONLY) = open("file", O_RDONLY);
	FD(OPATH) = open("file", O_PATH);
	FD(RAW) = raw(SYS_openat, AT_FDCWD, "file", O_RDWR, 0);
	FD(DUP) = dup(FD(RDWR));
	FD(PLAIN) = open("plain", O_RDWR);
	if (pipe(ends))
		die("pipe");
	FD(PIPE) = ends[1];
	for (int i = RDWR; i <= PIPE; i++)
		if (FD(i) < 0)
			die(descriptors[i].name);
}

#endif
