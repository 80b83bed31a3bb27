/* A change of the file, then one sync: what that does is compared, by tests/traced.rs, with what it does without the
 * library. Started as PROGRAM CHANGE SYNC WHO in a scene. Writes "changed" when the change is made. */
#include "common.h"
#include <spawn.h>
#include <utime.h>

#define RW (PROT_READ | PROT_WRITE)

static int fd;
static char *p;

static int punch(void)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE);
}
static int zero(void)
{
	return fallocate(fd, FALLOC_FL_ZERO_RANGE, PAGE, PAGE);
}
static int extend(void)
{
	return fallocate(fd, 0, 0, FILE_SIZE + PAGE);
}
static int advise(void)
{
	return madvise(p + PAGE, PAGE, MADV_REMOVE);
}
static int shrink(void)
{
	return ftruncate(fd, PAGE);
}
static int grow(void)
{
	return ftruncate(fd, 2 * FILE_SIZE);
}
static int grow_by_path(void)
{
	return truncate("symlink", 2 * FILE_SIZE);
}
static int append(void)
{
	return pwrite(fd, "more", 4, FILE_SIZE) == 4 ? 0 : -1;
}
static int overwrite(void)
{
	return pwrite(fd, "else", 4, PAGE) == 4 ? 0 : -1;
}
static int mode(void)
{
	return fchmod(fd, 0640);
}
static int mode_by_path(void)
{
	return chmod("file", 0640);
}
static int owner(void)
{
	return fchown(fd, -1, getegid());
}
static int times(void)
{
	return futimens(fd, (struct timespec[]){{1, 1}, {1, 1}});
}
static int times_by_path(void)
{
	return utime("file", &(struct utimbuf){1, 1});
}
static int attribute(void)
{
	return fsetxattr(fd, "user.test", "1", 1, 0);
}
static int attribute_away(void)
{
	return removexattr("file", "user.present");
}
static int another_name(void)
{
	return link("file", "new");
}
static int a_name_less(void)
{
	return unlink("hardlink");
}
static int other_name(void)
{
	return rename("hardlink", "new");
}

static const struct {
	const char *name;
	int (*make)(void);
} changes[] = {
	{"punch", punch}, {"zero", zero}, {"extend", extend}, {"MADV_REMOVE", advise}, {"shrink", shrink}, {"grow", grow},
	{"grow by path", grow_by_path}, {"append", append}, {"overwrite", overwrite}, {"chmod", mode},
	{"chmod by path", mode_by_path}, {"chown", owner}, {"times", times}, {"times by path", times_by_path},
	{"setxattr", attribute}, {"removexattr", attribute_away}, {"link", another_name}, {"unlink", a_name_less},
	{"rename", other_name},
};

static void *make(void *change)
{
	return ((int (*)(void))change)() ? (void *)(long)errno : NULL;
}

/* By another program, which a child executes. */
static void *execute(char **words, bool spawns)
{
	char *mine[] = {words[0], words[1], words[2], "program", NULL};
	extern char **environ;
	pid_t child;
	if (spawns) {
		if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, mine, environ))
			die("posix_spawn");
	} else if (!(child = fork())) {
		execv("/proc/self/exe", mine);
		_exit(ENOEXEC);
	}
	int status;
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		die("waitpid");
	return (void *)(long)WEXITSTATUS(status);
}

static int sync_by(const char *call)
{
	if (!strcmp(call, "fsync"))
		return fsync(fd);
	if (!strcmp(call, "fdatasync"))
		return fdatasync(fd);
	if (!strcmp(call, "sync_file_range"))
		return sync_file_range(fd, 0, FILE_SIZE, 7);
	return msync(p, FILE_SIZE, MS_SYNC);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	const char *call = argv[2], *who = argv[3];
	fd = open("file", O_RDWR);
	p = mmap(NULL, FILE_SIZE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	/* The first finds out how this is done, and others go by it. */
	for (int i = 0; i < 3; i++) {
		memset(p, '!' + i, FILE_SIZE);
		if (sync_by(call))
			die(call);
	}
	int (*change)(void) = NULL;
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
		if (!strcmp(changes[i].name, argv[1]))
			change = changes[i].make;
	void *failed;
	pthread_t thread;
	if (!strcmp(who, "program"))
		return (long)make(change);
	if (!strcmp(who, "executed") || !strcmp(who, "spawned"))
		failed = execute(argv, !strcmp(who, "spawned"));
	else if (strcmp(who, "thread"))
		failed = make(change);
	else if (pthread_create(&thread, NULL, make, change) || pthread_join(thread, &failed))
		die("pthread_create");
	if (failed == (void *)EOPNOTSUPP)
		return 77;
	if (failed) {
		errno = (long)failed;
		die(argv[1]);
	}
	dprintf(STDOUT_FILENO, "changed\n");
	if (strcmp(who, "child"))
		return sync_by(call) ? 1 : 0;
	pid_t child = fork();
	if (!child)
		_exit(sync_by(call) ? 1 : 0);
	return ended(child);
}
