/* Runs the `main` of a library, with another lookup scope than a program's own: for tests/adversity.rs. Started as
 * PROGRAM deepbind|dlmopen LIBRARY. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	void *library = strcmp(argv[1], "dlmopen") ? dlopen(argv[2], RTLD_NOW | RTLD_DEEPBIND)
	                                           : dlmopen(LM_ID_NEWLM, argv[2], RTLD_NOW);
	int (*run)(int, char **) = library ? (int (*)(int, char **))dlsym(library, "main") : NULL;
	if (!run) {
		fprintf(stderr, "%s\n", dlerror());
		return 125;
	}
	char *arguments[] = {argv[0], argv[1], NULL};
	return run(2, arguments);
}
