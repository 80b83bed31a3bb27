/* Setting and clearing the flag leaves the program's record lock, its lease and its offset alone, and wakes
 * nobody who waits for the file to be opened, closed, read or written. Without file_setattr(2) its steps are
 * as if there were nothing to do. */
#include "inode_flags.h"
#include <sys/inotify.h>

static int file, watch;
static volatile int signals;

static void count(int signal)
{
	(void)signal;
	signals++;
}

/* Behind the hooks, so that there is nothing of the shim's in a step but what is asked about. */
static long events(void)
{
	char buffer[4096];
	long found = 0, length;
	while ((length = raw(SYS_read, watch, buffer, sizeof buffer)) > 0)
		for (char *at = buffer; at < buffer + length; found++)
			at += sizeof(struct inotify_event) + ((struct inotify_event *)at)->len;
	return found;
}

static long is_locked(void)
{
	return IN_CHILD(({
		struct flock lock = {.l_type = F_WRLCK};
		fcntl(file, F_GETLK, &lock);
		errno = ENOLCK;
		lock.l_type == F_UNLCK ? -1 : 0;
	}));
}

static long by_path(uint64_t off, uint64_t on)
{
	uint64_t now[3] = {0};
	if (syscall(468, AT_FDCWD, "file", now, 24, 0))
		return errno == ENOSYS ? (errno = NO_ERROR, 0) : -1;
	now[0] = (now[0] & ~off) | on;
	return syscall(469, AT_FDCWD, "file", now, 24, 0);
}

/* Lock and lease do not outlast what a step looks at for its line. */
#define TRY(call, lease, what)                                                                                                \
	do {                                                                                                           \
		struct flock lock_ = {.l_type = F_WRLCK};                                                              \
		fcntl(file, F_SETLK, &lock_);                                                                          \
		lseek(file, 100, SEEK_SET);                                                                            \
		raw(SYS_fcntl, file, F_SETLEASE, lease);                                                               \
		events();                                                                                              \
		signals = 0;                                                                                           \
		errno = NO_ERROR;                                                                                      \
		long answer_ = call;                                                                                   \
		int error_ = errno;                                                                                    \
		long woken_ = events(), locked_ = is_locked();                                                         \
		int lease_ = raw(SYS_fcntl, file, F_GETLEASE, 0);                                                      \
		raw(SYS_fcntl, file, F_SETLEASE, F_UNLCK);                                                             \
		STEP((errno = error_, answer_), "%s (woken %ld, locked %ld, offset %ld, signals %d, lease %s)", what, woken_, \
		     locked_, (long)lseek(file, 0, SEEK_CUR), signals, lease_ == lease ? "as it was" : "broken");       \
	} while (0)

int main(int argc, char **argv)
{
	begin_alone(argc, argv);
	keep = true;
	raw(SYS_close, FILE_FD);
	signal(SIGIO, count);
	signal(SIGURG, count);
	file = opened("file", O_RDWR);
	watch = inotify_init1(IN_NONBLOCK);
	inotify_add_watch(watch, "file", IN_OPEN | IN_CLOSE | IN_ACCESS | IN_MODIFY);
	TRY(set_tag(file), F_UNLCK, "set");
	TRY(set_tag(file), F_UNLCK, "set again");
	TRY(clear_tag(file), F_UNLCK, "clear");
	TRY(by_path(0, BOTH), F_UNLCK, "set by path");
	TRY(by_path(DAX_IMMUTABLE | DAX, 0), F_UNLCK, "clear by path");
	TRY(set_tag(file), F_WRLCK, "set under a lease");
	TRY(clear_tag(file), F_WRLCK, "clear under a lease");
	TRY(IN_CHILD(set_tag(file)), F_UNLCK, "set by a child");
	TRY(clear_tag(file), F_UNLCK, "clear what a child has set");
	STEP(waitpid(-1, NULL, WNOHANG | __WALL), "a child that the program has not made");
	return end();
}
