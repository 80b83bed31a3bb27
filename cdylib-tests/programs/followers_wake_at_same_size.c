/* truncate to the size that a file has rings for those who watch it: journals do it for that. */
#include "common.h"
#include <sys/inotify.h>

static int watch;

/* Events are queued when the call returns: nothing is waited for. */
static void print_events(void)
{
	char bytes[4096];
	uint32_t seen = 0;
	long n = raw(SYS_read, watch, bytes, sizeof bytes);
	for (char *at = bytes; n > 0 && at < bytes + n;) {
		struct inotify_event *event = (struct inotify_event *)at;
		seen |= event->mask;
		at += sizeof *event + event->len;
	}
	printf(" | %s", seen & IN_MODIFY ? "woken" : "nobody wakes");
}

/* By the hour of 1970: stores of this process have not moved it since. */
static bool mtime_moved(void)
{
	struct stat now;
	raw(SYS_newfstatat, AT_FDCWD, "file", &now, 0);
	return now.st_mtime > 3600;
}

static void set_mtime_back(void)
{
	struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 3600}};
	char bytes[4096];
	raw(SYS_utimensat, AT_FDCWD, "file", times, 0);
	raw(SYS_read, watch, bytes, sizeof bytes);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	setvbuf(stdout, NULL, _IOLBF, 1 << 16); /* a crash shows where */
	char absolute[PATH_MAX];
	snprintf(absolute, sizeof absolute, "%s/file", dir);
	int fd = open("file", O_RDWR), copy = dup(fd), reader = open("file", O_RDONLY);
	int behind = raw(SYS_openat, AT_FDCWD, "file", O_WRONLY);
	char *p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	watch = inotify_init1(IN_NONBLOCK);
	if (inotify_add_watch(watch, "file", IN_MODIFY) < 0)
		die("inotify_add_watch");
	also = print_events;

	STEP((p[0] = '!', 0), "a store rings for nobody");
	STEP(ftruncate(fd, FILE_SIZE), "ftruncate");
	STEP(ftruncate64(copy, FILE_SIZE), "ftruncate64 of a dup");
	STEP(ftruncate(behind, FILE_SIZE), "ftruncate of one opened behind the hooks");
	STEP(ftruncate(reader, FILE_SIZE), "ftruncate of one for reading");
	STEP(truncate("file", FILE_SIZE), "truncate");
	STEP(truncate64(absolute, FILE_SIZE), "truncate64, absolute");
	STEP(truncate("symlink", FILE_SIZE), "truncate by a symlink");
	STEP(truncate("hardlink", FILE_SIZE), "truncate by a hard link");
	STEP(truncate("/proc/self/fd/100", FILE_SIZE), "truncate by /proc/self/fd");
	STEP(syscall(SYS_ftruncate, fd, (long)FILE_SIZE), "ftruncate by number");
	STEP(IN_CHILD(ftruncate(fd, FILE_SIZE)), "ftruncate in a child");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync rings for nobody");
	set_mtime_back();
	STEP(ftruncate(fd, FILE_SIZE), "ftruncate, with mtime set back");
	STEP(mtime_moved(), "mtime moved");
	STEP(ftruncate(fd, FILE_SIZE + 1), "ftruncate to more");
	STEP(ftruncate(fd, FILE_SIZE), "and back");
	STEP(truncate("file", -1), "truncate to less than nothing");
	return end();
}
