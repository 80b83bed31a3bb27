/* What the programs with a database of somebody else's share, for `daxshim check` and `daxshim crash`. Started as
 * PROGRAM make DIR: makes the database `store` there, as large as it will ever be; PROGRAM wrong|right DIR: changes
 * it, and if wrong with some syncs left out; PROGRAM check IMAGE: the checker. */
#ifndef DATABASE_H
#define DATABASE_H

#include "../check/check.h"
#include <dlfcn.h>
#include <stdint.h>

/* Whether the next sync is left out, and what it was of. */
static bool (*leaves_out)(void *address, size_t length);

/* The executable's functions come before all others': the library of the database calls these. */
int msync(void *address, size_t length, int flags)
{
	if (leaves_out && leaves_out(address, length))
		return 0;
	int (*next)(void *, size_t, int) = dlsym(RTLD_NEXT, "msync");
	return next(address, length, flags);
}

static int file_sync(int fd, const char *name)
{
	if (leaves_out && leaves_out(NULL, 0))
		return 0;
	int (*next)(int) = dlsym(RTLD_NEXT, name);
	return next(fd);
}

int fsync(int fd)
{
	return file_sync(fd, "fsync");
}

int fdatasync(int fd)
{
	return file_sync(fd, "fdatasync");
}

static int start(int argc, char **argv, void (*make)(void), void (*run)(void), int (*check)(const char *))
{
	if (argc == 3 && strcmp(argv[1], "check") == 0)
		return check(argv[2]);
	begin(argc, argv);
	if (strcmp(argv[1], "make") == 0)
		make();
	else
		run();
	return 0;
}

#endif
