/* Whoever looks at a file for its tag leaves the program's record locks, leases and watches on it alone. */
#include "common.h"
#include <sys/inotify.h>

static int file, watch;
static volatile int broken;

/* Whether the process still has its record lock, as another one sees it. */
static long is_locked(void)
{
	return IN_CHILD(({
		struct flock lock = {.l_type = F_WRLCK};
		fcntl(file, F_GETLK, &lock);
		errno = ENOLCK;
		lock.l_type == F_UNLCK ? -1 : 0;
	}));
}

/* How often the file was opened or closed since. */
static long events(void)
{
	char buffer[4096];
	long count = 0, length;
	while ((length = raw(SYS_read, watch, buffer, sizeof buffer)) > 0)
		for (char *at = buffer; at < buffer + length;) {
			const struct inotify_event *event = (void *)at;
			count++;
			at += sizeof *event + event->len;
		}
	return count;
}

static void lease_broken(int signal)
{
	(void)signal;
	broken++;
}

static const struct timeval now[2];
static const char *const calls[] = {"chmod", "chown", "utimes", "truncate", "setxattr", "removexattr", "link", "renameself",
                                    "exclusive", "fchmodat", "unlink", "unlinkat", "rename"};

static long make(const char *what)
{
	if (!strcmp(what, "chmod"))
		return chmod("file", 0644);
	if (!strcmp(what, "chown"))
		return chown("file", -1, -1);
	if (!strcmp(what, "utimes"))
		return utimes("symlink", now);
	if (!strcmp(what, "truncate"))
		return truncate("file", FILE_SIZE);
	if (!strcmp(what, "setxattr"))
		return setxattr("file", "user.test", "1", 1, 0);
	if (!strcmp(what, "removexattr"))
		return removexattr("file", "user.test");
	if (!strcmp(what, "link"))
		return link("file", "new");
	if (!strcmp(what, "renameself"))
		return rename("file", "file");
	if (!strcmp(what, "exclusive"))
		return open("file", O_CREAT | O_EXCL | O_RDWR | O_TRUNC, 0600);
	if (!strcmp(what, "fchmodat"))
		return fchmodat(DIR_FD, "file", 0644, 0);
	if (!strcmp(what, "unlink"))
		return unlink("hardlink");
	if (!strcmp(what, "unlinkat"))
		return unlinkat(DIR_FD, "new", 0);
	return rename("file", "sub");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	/* Those of the scene would stand in a lease's way. */
	raw(SYS_close, FILE_FD);
	file = open("file", O_RDWR);
	watch = inotify_init1(IN_NONBLOCK);
	if (inotify_add_watch(watch, "file", IN_OPEN | IN_CLOSE | IN_ACCESS) < 0)
		die("inotify_add_watch");
	struct flock lock = {.l_type = F_WRLCK};
	STEP(fcntl(file, F_SETLK, &lock), "a lock");
	signal(SIGIO, lease_broken);
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		/* What is printed of the file is looked at, and so opened, before and after. */
		fcntl(file, F_SETLK, &lock);
		events();
		errno = NO_ERROR;
		long result = make(calls[i]);
		int error = errno;
		long woken = events(), held = is_locked();
		STEP((errno = error, result == -1 ? -1 : 0), "%s (woken %ld, locked %ld)", calls[i], woken, held);
	}
	/* A truncation breaks leases by itself. */
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		if (!strcmp(calls[i], "truncate"))
			continue;
		raw(SYS_fcntl, file, F_SETLEASE, F_UNLCK);
		broken = 0;
		long leased = raw(SYS_fcntl, file, F_SETLEASE, F_WRLCK);
		make(calls[i]);
		long still = raw(SYS_fcntl, file, F_GETLEASE, 0) == F_WRLCK;
		raw(SYS_fcntl, file, F_SETLEASE, F_UNLCK);
		STEP(0, "%s (leased %ld, still %ld, asked to give it up %d)", calls[i], leased, still, broken);
	}
	return end();
}
