/* A child that shares the parent's memory completes its environment there: nothing of that may be
 * seen in the parent, however many do so at once, and none of them may be left without it. */
#include "executed.h"
#include <spawn.h>
#include <stdatomic.h>

enum { THREADS = 16, EACH = 10 };
static atomic_int results[256];

static long lines(const char *path)
{
	char bytes[4096];
	long count = 0, n;
	int fd = raw(SYS_openat, AT_FDCWD, path, O_RDONLY);
	while ((n = raw(SYS_read, fd, bytes, sizeof bytes)) > 0)
		for (long i = 0; i < n; i++)
			count += bytes[i] == '\n';
	raw(SYS_close, fd);
	return count;
}

static int spawned(const char *program, char **environment)
{
	pid_t child;
	int status, error = posix_spawn(&child, program, NULL, NULL, ARGUMENTS("-1"), environment);
	if (error)
		return error;
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}

static void *storm(void *environment)
{
	for (int i = 0; i < EACH; i++)
		results[spawned(self, environment)]++;
	return NULL;
}

static void storms(char **environment, const char *name)
{
	pthread_t threads[THREADS];
	memset(results, 0, sizeof results);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, storm, environment);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	STEP(results[0], "%s: children that wrote", name);
	STEP(results[EPERM], "%s: children that were refused", name);
}

int main(int argc, char **argv)
{
	begin_executed(argc, argv);
	char **few = variables(3), **many = variables(5000);
	spawned(self, few);
	long before = lines("/proc/self/maps");
	for (int i = 0; i < 5; i++) {
		spawned(self, few);
		spawned("missing", few);
		spawned("missing", many);
	}
	STEP(lines("/proc/self/maps") - before, "mappings more than before");
	for (int i = 0; i < 100; i++)
		spawned(self, i % 2 ? few : many);
	STEP(lines("/proc/self/maps") - before <= 1, "with 5000 variables, at most one");
	storms(few, "few variables");
	storms(many, "many variables");
	return end();
}
