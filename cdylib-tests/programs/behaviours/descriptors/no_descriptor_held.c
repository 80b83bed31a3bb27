/* The shim holds no descriptor open, nor any thread. */
#include "common.h"

static void list(const char *what)
{
	int fds = 0, threads = 0;
	DIR *open_now = opendir("/proc/self/fd"), *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	while ((entry = readdir(open_now)))
		fds++;
	while ((entry = readdir(tasks)))
		threads++;
	closedir(open_now);
	closedir(tasks);
	printf("%s: %d descriptors, %d threads\n", what, fds, threads);
}

int main(int argc, char **argv)
{
	list("at main");
	int fd = open("file", O_RDWR);
	if (write(fd, "WXYZ", 4) == -1)
		errno = 0;
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	msync(p, PAGE, MS_SYNC);
	list("after some work");
	close(fd);
	list("after close");
	begin(argc, argv);
	return end();
}
