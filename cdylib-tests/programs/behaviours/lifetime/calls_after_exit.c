/* Exit handlers and destructors, the library's own among them, come and go: hooks go on working. */
#include "common.h"

static int fd;
static bool begun;

static void call_all(const char *when)
{
	STEP(pwrite(fd, "WXYZ", 4, 0), "%s: pwrite", when);
	STEP(ftruncate(fd, 10), "%s: ftruncate", when);
	STEP(unlink("hardlink"), "%s: unlink", when);
	STEP(closing(open("file", O_WRONLY | O_TRUNC)) >= 0 ? 0 : -1, "%s: O_TRUNC", when);
	STEP(closing(open("plain", O_RDWR)) >= 0 ? 0 : -1, "%s: open of plain", when);
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	STEP(msync(p, 4 * PAGE, MS_SYNC), "%s: msync", when);
	STEP(munmap(p, 4 * PAGE), "%s: munmap", when);
	STEP(fsync(fd), "%s: fsync", when);
}

static void at_exit(void)
{
	call_all("atexit");
}

static void on_exit_(int status UNUSED, void *name)
{
	call_all(name);
}

static void __attribute__((destructor)) destroy(void)
{
	if (begun)
		call_all("destructor");
}

static void __attribute__((destructor(101))) destroy_last(void)
{
	if (begun)
		call_all("last destructor");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	begun = true;
	fd = open("file", O_RDWR);
	atexit(at_exit);
	on_exit(on_exit_, "on_exit");
	return 0;
}
