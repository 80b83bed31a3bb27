/* A module makes its system calls itself: one that is there before a tagged file is mapped, and one that comes
 * later, among other threads. */
#include "modules.h"

static void *wait_for_it(void *end_of_pipe)
{
	char byte;
	return read((int)(long)end_of_pipe, &byte, 1) ? NULL : NULL;
}

static void try(void *module, const char *name)
{
	long (*munmap_)(void *, long, long) = find(module, "own_munmap");
	long (*mprotect_)(void *, long, long) = find(module, "own_mprotect");
	char *p = map("file");

	STEP(munmap_(p + PAGE, PAGE, 0), "%s: munmap", name);
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync over the hole");
	STEP(mprotect_(p, PAGE, PROT_NONE), "mprotect");
	STEP(msync(p, PAGE, MS_SYNC), "msync");
	STEP(munmap_(p, FILE_SIZE, 0), "munmap");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync of nothing");
}

int main(int argc, char **argv)
{
	int ends[2];
	pthread_t thread;
	begin(argc, argv);
	keep = true;
	if (pipe(ends) || pthread_create(&thread, NULL, wait_for_it, (void *)(long)ends[0]))
		die("pthread_create");
	void *early = load("inline", RTLD_NOW);
	try(early, "early");
	try(load("crossing", RTLD_NOW), "late");
	dlclose(early);
	try(load("inline", RTLD_NOW), "again");
	close(ends[1]);
	pthread_join(thread, NULL);
	return end();
}
