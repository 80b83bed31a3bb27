#include "common.h"
#include <sys/inotify.h>

struct handle {
	struct file_handle head;
	char room[MAX_HANDLE_SZ];
};

static struct handle handle_of(const char *name)
{
	struct handle handle = {.head.handle_bytes = MAX_HANDLE_SZ};
	int mount;
	if (raw(SYS_name_to_handle_at, AT_FDCWD, name, &handle, &mount, 0))
		die("name_to_handle_at");
	return handle;
}

static const struct {
	const char *name;
	int flags;
} cases[] = {
	{"O_RDONLY", O_RDONLY},
	{"O_RDWR", O_RDWR},
	{"O_WRONLY|O_APPEND", O_WRONLY | O_APPEND},
	{"O_PATH", O_PATH},
	{"O_RDONLY|O_TRUNC", O_RDONLY | O_TRUNC},
	{"O_WRONLY|O_TRUNC", O_WRONLY | O_TRUNC},
	{"O_RDWR|O_TRUNC", O_RDWR | O_TRUNC},
	{"3|O_TRUNC", 3 | O_TRUNC},
	{"O_RDWR|O_TRUNC|O_CLOEXEC", O_RDWR | O_TRUNC | O_CLOEXEC},
	{"O_WRONLY|O_APPEND|O_TRUNC", O_WRONLY | O_APPEND | O_TRUNC},
	{"O_PATH|O_TRUNC", O_PATH | O_TRUNC},
	{"O_DIRECTORY|O_TRUNC", O_DIRECTORY | O_RDONLY | O_TRUNC},
};

/* How often the file is opened and closed, as somebody who watches it sees it. */
static long opens(int (*open_)(int, struct file_handle *, int), const char *name, int flags)
{
	struct handle handle = handle_of(name);
	int watch = inotify_init1(IN_NONBLOCK);
	if (inotify_add_watch(watch, name, IN_OPEN | IN_CLOSE) < 0)
		die("inotify_add_watch");
	closing(open_(DIR_FD, &handle.head, flags));
	char events[4096];
	ssize_t bytes = read(watch, events, sizeof events);
	close(watch);
	errno = NO_ERROR;
	return bytes < 0 ? 0 : bytes / (ssize_t)sizeof(struct inotify_event);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*open_)(int, struct file_handle *, int) = symbol;
	static const char *const names[] = {"file", "hardlink", "plain", "sub"};
	for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
		struct handle handle = handle_of(names[n]);
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
			STEP(closing(open_(DIR_FD, &handle.head, cases[i].flags)), "%s %s", cases[i].name, names[n]);
	}
	struct handle file = handle_of("file"), short_one = file, long_one = file;
	short_one.head.handle_bytes = 0;
	long_one.head.handle_bytes = MAX_HANDLE_SZ + 1;
	STEP(closing(open_(AT_FDCWD, &file.head, O_RDWR | O_TRUNC)), "O_TRUNC, AT_FDCWD as mount");
	STEP(closing(open_(FILE_FD, &file.head, O_RDWR | O_TRUNC)), "O_TRUNC, the file as mount");
	STEP(closing(open_(CLOSED_FD, &file.head, O_RDWR | O_TRUNC)), "O_TRUNC, a closed descriptor as mount");
	STEP(closing(open_(DIR_FD, (void *)8, O_RDWR | O_TRUNC)), "O_TRUNC, handle at a bad pointer");
	STEP(closing(open_(DIR_FD, &short_one.head, O_RDWR | O_TRUNC)), "O_TRUNC, handle of length 0");
	STEP(closing(open_(DIR_FD, &long_one.head, O_RDWR | O_TRUNC)), "O_TRUNC, handle too long");
	STEP(opens(open_, "plain", O_RDONLY), "opens and closes of plain seen, O_RDONLY");
	STEP(opens(open_, "plain", O_RDWR | O_TRUNC), "opens and closes of plain seen, O_RDWR|O_TRUNC");
	int fd = open_(DIR_FD, &file.head, O_RDWR);
	STEP(write(fd, "WXYZ", 4), "write to what was opened");
	STEP(ftruncate(fd, 10), "ftruncate what was opened");
	STEP(IN_CHILD(open_(DIR_FD, &file.head, O_RDWR | O_TRUNC)), "O_TRUNC in a child");
	return end();
}
