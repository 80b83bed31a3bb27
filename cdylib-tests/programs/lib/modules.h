/* Modules of programs/modules, which are beside the program's folder. */
#include "common.h"

static UNUSED void *load(const char *name, int flags)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
	if (length < 0)
		die("/proc/self/exe");
	path[length] = 0;
	snprintf(strrchr(path, '/'), 64, "/../modules/%s.so", name);
	void *module = dlopen(path, flags);
	if (!module) {
		printf("%s\n", dlerror());
		die("dlopen");
	}
	return module;
}

static UNUSED void *find(void *module, const char *name)
{
	void *function = dlsym(module, name);
	if (!function)
		die(name);
	return function;
}

/* Whether a sync of this page is the kernel's: always, without the library. */
static UNUSED int is_the_kernels(const void *address)
{
	int (*needs)(const void *, size_t) = dlsym(RTLD_DEFAULT, "daxshim_needs_msync");
	return needs ? needs(address, PAGE) : 1;
}

static UNUSED char *map(const char *path)
{
	int fd = open(path, O_RDWR);
	char *p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || p == MAP_FAILED)
		die(path);
	close(fd);
	p[1]++;
	return p;
}
