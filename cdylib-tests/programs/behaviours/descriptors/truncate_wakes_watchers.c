/* A truncate to the present size is how the systemd journal rings those who follow it: inotify tells of it. */
#include "common.h"
#include <sys/fsuid.h>
#include <sys/inotify.h>

static int watch, told;

static void events(void)
{
	char room[4096] __attribute__((aligned(8)));
	ssize_t n = raw(SYS_read, watch, room, sizeof room);
	for (char *at = room; n > 0 && at < room + n;) {
		struct inotify_event *event = (void *)at;
		printf(" | %s%s", event->mask & IN_MODIFY ? "modified" : "", event->mask & IN_ATTRIB ? "attributes" : "");
		at += sizeof *event + event->len;
	}
}

static void poll_anew(void)
{
	if (watch > 0)
		raw(SYS_close, watch);
	watch = inotify_init1(IN_NONBLOCK);
	told = inotify_add_watch(watch, "file", IN_MODIFY | IN_ATTRIB);
	if (watch < 0 || told < 0)
		die("inotify");
}

/* With a watch of its own, as putting the scene back touches the file. */
#define RING(...) (poll_anew(), ({ STEP(__VA_ARGS__); }))

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*ftruncate_)(int, off_t) = symbol;
	also = events;
	open_descriptors();
	FILE *stream = fopen("file", "r+");
	if (!stream)
		die("fopen");
	RING(ftruncate_(FD(RDWR), FILE_SIZE), "ftruncate");
	RING(ftruncate64(FD(WRONLY), FILE_SIZE), "ftruncate64");
	RING(ftruncate_(FD(APPEND), FILE_SIZE), "ftruncate with O_APPEND");
	RING(ftruncate_(FD(DUP), FILE_SIZE), "ftruncate of a dup");
	RING(ftruncate_(fileno(stream), FILE_SIZE), "ftruncate of a stream's");
	RING(syscall(SYS_ftruncate, FD(RAW), FILE_SIZE), "ftruncate by number");
	RING(truncate("file", FILE_SIZE), "truncate");
	RING(truncate64("symlink", FILE_SIZE), "truncate64 of a symlink");
	RING(syscall(SYS_truncate, "hardlink", FILE_SIZE), "truncate by number of a hard link");
	RING(IN_CHILD(ftruncate_(FD(RDWR), FILE_SIZE)), "ftruncate in a child");
	RING(ftruncate_(FD(RDONLY), FILE_SIZE), "ftruncate without the right");
	RING(ftruncate_(FD(RDWR), FILE_SIZE - 1), "ftruncate to another size");
	/* Bits that fall with a truncation, for those who may not keep them. */
	if (raw(SYS_fchmod, FD(RDWR), 04755))
		die("fchmod");
	RING(IN_CHILD(setfsuid(65534) < 0 ? -1 : ftruncate_(FD(RDWR), FILE_SIZE)), "ftruncate of a set-user-ID file");
	fclose(stream);
	return end();
}
