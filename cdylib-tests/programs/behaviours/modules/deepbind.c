/* A library that finds libc's functions before those of a preloaded one. */
#include "modules.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	void *library = load("library", RTLD_NOW | RTLD_DEEPBIND);
	int (*munmap_)(void *, size_t) = find(library, "library_munmap");
	void *(*mmap_)(void *, size_t, int, int, int, off_t) = find(library, "library_mmap");
	ssize_t (*pwrite_)(int, const void *, size_t, off_t) = find(library, "library_pwrite");
	int file = open("file", O_RDWR);
	char *p = mmap_(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	p[0]++;
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync of its mapping");
	STEP(munmap_(p, PAGE), "munmap");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync over the hole");
	char *q = map("file");
	STEP(munmap_(q, PAGE), "munmap of the program's mapping");
	STEP(msync(q, FILE_SIZE, MS_SYNC), "msync over its hole");
	STEP(pwrite_(file, "WXYZ", 4, 0), "pwrite");
	return end();
}
