/* A program that executes itself: what it then is says with its exit status what became of a write
 * to descriptor 50, and whether the environment it was given arrived. */
#include "common.h"

#define CHILD "child"
static char self[PATH_MAX];

/* The program's own variables: not those that steer the library. */
static int foreign_variables(char **environment)
{
	int count = 0;
	for (; *environment; environment++)
		count += strncmp(*environment, "DAXSHIM_", 8) && strncmp(*environment, "PMEM_", 5) &&
			 strncmp(*environment, "LD_PRELOAD=", 11);
	return count;
}

/* To be called first: does not return in what was executed, whose second argument is how many
 * variables it should have, or less than 0. */
static void UNUSED begin_executed(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], CHILD)) {
		extern char **environ;
		int expected = atoi(argv[2]);
		if (expected >= 0 && foreign_variables(environ) != expected)
			_exit(200);
		_exit(write(50, "WXYZ", 4) == 4 ? 0 : errno);
	}
	begin(argc, argv);
	if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
		die("/proc/self/exe");
	raw_open_as(50, "file", O_RDWR);
}

#define ARGUMENTS(count) (char *[]){self, CHILD, count, NULL}
#define EMPTY (char *[]){NULL}

/* `count` variables, V0= and so on. */
static UNUSED char **variables(int count)
{
	char **list = calloc(count + 1, sizeof *list);
	for (int i = 0; i < count; i++)
		if (asprintf(&list[i], "V%d=%0*d", i, i % 40, i) < 0)
			die("asprintf");
	return list;
}

/* An array or text that ends where memory ends. */
static UNUSED void *at_the_end(const void *bytes, size_t length)
{
	char *pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || munmap(pages + 2 * PAGE, PAGE))
		die("mmap");
	return memcpy(pages + 2 * PAGE - length, bytes, length);
}

/* Environments of all kinds, to the function `run(environment, how many variables arrive)`. */
#define FOR_ENVIRONMENTS(run)                                                                                         \
	do {                                                                                                          \
		extern char **environ;                                                                                \
		char *unreadable[] = {"A=1", (char *)8, NULL};                                                        \
		char *late[40] = {[0 ... 38] = "A=1"};                                                                \
		char *ends[] = {at_the_end("A=1", 4), at_the_end("LD_PRELOAD=", 12), at_the_end("D", 2), NULL};       \
		char *loop[] = {"A=1", "B=2"};                                                                        \
		STEP(run(environ, "-1"), "the environment it has");                                                   \
		STEP(run(EMPTY, "0"), "an empty one");                                                                \
		STEP(run(variables(1), "1"), "one variable");                                                         \
		STEP(run(variables(31), "31"), "31 variables");                                                       \
		STEP(run(variables(32), "32"), "32 variables");                                                       \
		STEP(run(variables(33), "33"), "33 variables");                                                       \
		STEP(run(variables(5000), "5000"), "5000 variables");                                                 \
		STEP(run(((char *[]){"", "=", "A", "DAXSHIM", "LD_PRELOAD", NULL}), "-1"), "odd variables");          \
		STEP(run(((char *[]){"LD_PRELOAD=", "A=1", NULL}), "1"), "an empty LD_PRELOAD");                      \
		STEP(run(((char *[]){"A=1", "LD_PRELOAD=libm.so.6", NULL}), "1"), "an LD_PRELOAD of its own");        \
		STEP(run(ends, "2"), "variables where memory ends");                                                  \
		STEP(run(at_the_end(ends, sizeof ends), "2"), "the array where memory ends");                         \
		STEP(run(at_the_end(loop, sizeof loop), "2"), "an unterminated array");                               \
		STEP(run(unreadable, "2"), "an unreadable variable");                                                 \
		late[38] = (char *)8;                                                                                 \
		STEP(run(late, "2"), "an unreadable variable, late");                                                 \
		STEP(run((char **)8, "2"), "at a bad pointer");                                                       \
		STEP(run((char **)0xffff800000000000, "2"), "at a kernel pointer");                                   \
	} while (0)
