/* The child of posix_spawn opens, duplicates and closes in the parent's memory: it neither truncates
 * a tagged file nor leaves its own view of the descriptors behind. */
#include "common.h"
#include <spawn.h>

static posix_spawn_file_actions_t actions;

static long spawned(char *const *arguments)
{
	extern char **environ;
	pid_t child;
	fflush(stdout);
	int error = posix_spawn(&child, arguments[0], &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawn_file_actions_init(&actions);
	errno = error;
	return error ? -1 : ended(child);
}

#define TRUE spawned((char *[]){"/bin/true", NULL})
#define ECHO spawned((char *[]){"/bin/echo", "WXYZ", NULL})

int main(int argc, char **argv)
{
	begin(argc, argv);
	posix_spawn_file_actions_init(&actions);
	int file = open("file", O_RDWR), plain = open("plain", O_RDWR);
	posix_spawn_file_actions_addopen(&actions, 20, "file", O_WRONLY | O_TRUNC, 0);
	STEP(TRUE, "addopen of the file with O_TRUNC");
	posix_spawn_file_actions_addopen(&actions, 20, "symlink", O_WRONLY | O_TRUNC | O_CREAT, 0600);
	STEP(TRUE, "addopen of the symlink with O_TRUNC and O_CREAT");
	posix_spawn_file_actions_addopen(&actions, 20, "plain", O_WRONLY | O_TRUNC, 0);
	STEP(TRUE, "addopen of plain with O_TRUNC");
	posix_spawn_file_actions_addopen(&actions, 20, "file", O_RDWR, 0);
	STEP(TRUE, "addopen of the file");
	posix_spawn_file_actions_addopen(&actions, 20, "missing", O_RDWR, 0);
	STEP(TRUE, "addopen of one that is missing");

	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, file, 1);
	STEP(ECHO, "echo to the file");
	posix_spawn_file_actions_adddup2(&actions, plain, 1);
	STEP(ECHO, "echo to plain");
	STEP(write(file, "WXYZ", 4), "the file in the parent");
	STEP(write(plain, "WXYZ", 4), "plain in the parent");

	posix_spawn_file_actions_addopen(&actions, file, "plain", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&actions, file, 1);
	STEP(ECHO, "echo to plain under the file's number");
	STEP(write(file, "WXYZ", 4), "the file in the parent after it");
	posix_spawn_file_actions_adddup2(&actions, file, plain);
	posix_spawn_file_actions_addclose(&actions, file);
	STEP(TRUE, "the file under plain's number");
	STEP(write(plain, "WXYZ", 4), "plain in the parent after it");
	STEP(write(file, "WXYZ", 4), "the file after addclose in a child");
	posix_spawn_file_actions_destroy(&actions);
	return end();
}
