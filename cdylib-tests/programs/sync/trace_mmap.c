/* A mapping of the file and an msync of its first page between two breakpoints, for the tracer of
 * tests/devices.rs, on devices that it makes up. Started as PROGRAM SYMBOL DIR CASE DEVICE. */
#include "common.h"
#include <sys/inotify.h>
#include <sys/resource.h>
#include <time.h>

static const char *device; /* what /sys/dev/block/MAJOR:MINOR leads to */

static void change(const char *name, const char *content)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", device, name);
	int fd = raw(SYS_openat, AT_FDCWD, path, O_WRONLY | O_TRUNC, 0);
	if (fd < 0 || raw(SYS_write, fd, content, strlen(content)) < 0 || raw(SYS_close, fd))
		die(path);
}

static char *map(int fd)
{
	char *at = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

/* How often ten mappings look at a region that the device is not in. */
static long opens_of_ten(int fd)
{
	const char *path = "/sys/bus/nd/devices/region3/persistence_domain";
	char events[4096];
	int watch = inotify_init1(IN_NONBLOCK);
	if (inotify_add_watch(watch, path, IN_ACCESS | IN_CLOSE) < 0)
		die(path);
	long opens = 0, bytes;
	for (int i = 0; i < 10; i++) {
		map(fd);
		while ((bytes = raw(SYS_read, watch, events, sizeof events)) > 0)
			for (char *at = events; at < events + bytes; at += sizeof(struct inotify_event))
				opens += !!(((struct inotify_event *)at)->mask & IN_CLOSE);
	}
	raw(SYS_close, watch);
	return opens;
}

/* Longer than it holds what was found: 2^30 ticks. */
static void wait_ticks(void)
{
	uint64_t begin = __builtin_ia32_rdtsc();
	while (__builtin_ia32_rdtsc() - begin <= 1u << 30)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*msync_)(void *, size_t, int) = symbol;
	const char *which = argc > 4 ? argv[3] : "";
	device = argv[4];
	int fd = open("file", O_RDWR);
	if (strcmp(which, "first"))
		map(fd);
	if (!strcmp(which, "switched on"))
		change("dax/write_cache", "1\n");
	if (!strcmp(which, "another device"))
		change("../../../persistence_domain", "memory_controller\n");
	if (!strcmp(which, "region added")) {
		wait_ticks();
		raw(SYS_renameat2, AT_FDCWD, "/sys/bus/nd/later", AT_FDCWD, "/sys/bus/nd/devices/region9", 0);
	}
	long opens = strcmp(which, "ten") ? 0 : opens_of_ten(fd);
	if (!strcmp(which, "no descriptor left")) {
		struct rlimit none = {0, 0};
		setrlimit(RLIMIT_NOFILE, &none);
	}

	__asm__ volatile("int3" ::"D"(opens) : "memory");
	char *at = map(fd);
	*at = '!';
	long result = msync_(at, PAGE, MS_SYNC) ? errno : 0;
	__asm__ volatile("int3" ::"a"(result) : "memory");
	return end();
}
