#include "times.h"

int main(int argc, char **argv)
{
	begin_times(argc, argv);
	int (*utimensat_)(int, const char *, const struct timespec *, int) = symbol;
	struct timespec given[] = {{5, 6}, {7, 8}}, neither[] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
	struct {
		const char *name;
		struct timespec times[2];
	} cases[] = {
		{"5.6 and OMIT", {{5, 6}, {0, UTIME_OMIT}}},
		{"OMIT and 7.8", {{0, UTIME_OMIT}, {7, 8}}},
		{"NOW and NOW", {{0, UTIME_NOW}, {0, UTIME_NOW}}},
		{"OMIT and NOW", {{0, UTIME_OMIT}, {0, UTIME_NOW}}},
		{"OMIT and OMIT", {{0, UTIME_OMIT}, {0, UTIME_OMIT}}},
		{"a billion nanoseconds", {{5, 1000000000}, {7, 8}}},
		{"-1 nanoseconds", {{5, 6}, {7, -1}}},
		{"OMIT and -1 nanoseconds", {{0, UTIME_OMIT}, {7, -1}}},
		{"0 and 0", {{0, 0}, {0, 0}}},
		{"before 1970", {{-5, 6}, {-7, 8}}},
	};
	FOR_ROUTES(r)
		STEP(utimensat_(AT_FDCWD, r->path, given, 0), "AT_FDCWD %s", r->name);
	FOR_AT_ROUTES(r) {
		STEP(utimensat_(r->fd, r->path, NULL, 0), "NULL %s", r->name);
		STEP(utimensat_(r->fd, r->path, given, 0), "5.6 and 7.8 %s", r->name);
		STEP(utimensat_(r->fd, r->path, neither, 0), "OMIT and OMIT %s", r->name);
		STEP(utimensat_(r->fd, r->path, given, AT_SYMLINK_NOFOLLOW), "NOFOLLOW %s", r->name);
		STEP(utimensat_(r->fd, r->path, given, AT_EMPTY_PATH), "EMPTY_PATH %s", r->name);
		STEP(utimensat_(r->fd, r->path, given, AT_EACCESS), "a flag it has not %s", r->name);
	}
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		STEP(utimensat_(DIR_FD, "file", cases[i].times, 0), "%s", cases[i].name);
		STEP(utimensat_(DIR_FD, "symlink", cases[i].times, AT_SYMLINK_NOFOLLOW), "%s, symlink itself", cases[i].name);
	}
	STEP(utimensat_(DIR_FD, "file", (void *)8, 0), "times at a bad pointer");
	STEP(utimensat_(DIR_FD, "missing", (void *)8, 0), "missing, times at a bad pointer");
	STEP(utimensat_(DIR_FD, "file", given, -1), "all flags");
	STEP(IN_CHILD(utimensat_(DIR_FD, "file", NULL, 0)), "NULL in a child");
	return end();
}
