/* What others see of a file while it is mapped, stored to and synced: the events of a watch, record locks,
 * those of an open file, a lease. Prints it; natively the same. */
#include "check.h"

#include <sys/inotify.h>

static int watch, file;
static char *p;

static int lock(int command, short type, off_t at)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
	return fcntl(file, command, &lock) == 0 ? lock.l_type : -1;
}

/* Who holds the byte, as another process sees it. */
static int held(off_t at)
{
	pid_t child = fork();
	int status = 0;
	if (child == 0)
		_exit(lock(F_GETLK, F_WRLCK, at) == F_WRLCK);
	must(waitpid(child, &status, 0) == child, "waitpid");
	return WEXITSTATUS(status);
}

static void say(const char *what)
{
	char events[4096];
	ssize_t length = read(watch, events, sizeof events);
	printf("%s:", what);
	for (ssize_t at = 0; at < length;) {
		struct inotify_event *event = (void *)(events + at);
		printf(" %x", event->mask);
		at += sizeof *event + event->len;
	}
	printf("; record lock %d, of the open file %d, lease %d\n", held(0), held(1), fcntl(file, F_GETLEASE));
	fflush(stdout);
}

static void each_kind(const char *size)
{
	printf("%s\n", size);
	p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, file, 0);
	must(p != MAP_FAILED, "mmap");
	say("mmap");
	p[0] ^= 1;
	sync_range(p, 1);
	say("msync");
	p[PAGE] ^= 1;
	must(fsync(file) == 0 && fdatasync(file) == 0, "fsync");
	say("fsync");
	must(sync_file_range(file, 0, 0, 7) == 0, "sync_file_range");
	say("sync_file_range");
	must(mprotect(p, PAGE, PROT_READ) == 0 && mprotect(p, PAGE, RW) == 0, "mprotect");
	say("mprotect");
	if (fork() == 0) {
		p[2 * PAGE] ^= 1;
		_exit(0);
	}
	wait(NULL);
	say("fork");
	sync(), syncfs(file);
	say("sync after another process");
	p[3 * PAGE] ^= 1;
	sync_range(p, 4);
	must(munmap(p + 3 * PAGE, PAGE) == 0, "munmap");
	say("munmap of a part");
	sync();
	say("sync of what is not mapped");
	must(syncfs(file) == 0, "syncfs");
	say("syncfs");
	must(munmap(p, 3 * PAGE) == 0, "munmap");
	sync(), fsync(file);
	say("munmap");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	watch = inotify_init1(IN_NONBLOCK);
	must(watch >= 0 && inotify_add_watch(watch, "file", IN_ALL_EVENTS) >= 0, "inotify");
	file = opened("file");
	must(lock(F_SETLK, F_WRLCK, 0) >= 0 && lock(F_OFD_SETLK, F_WRLCK, 1) >= 0, "lock");
	must(fcntl(file, F_SETLEASE, F_WRLCK) == 0, "lease");
	say("open");
	each_kind("with a lease");
	each_kind("again");
	/* A descriptor that cannot be read, beside one that can: it breaks the lease by itself. */
	must(fcntl(file, F_SETLEASE, F_UNLCK) == 0, "lease");
	int wronly = open("file", O_WRONLY);
	must(wronly >= 0, "O_WRONLY");
	p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, file, 0);
	must(p != MAP_FAILED, "mmap");
	p[0] ^= 1;
	must(munmap(p, PAGE) == 0, "munmap");
	must(fsync(wronly) == 0, "fsync");
	say("fsync by O_WRONLY");
	return 0;
}
