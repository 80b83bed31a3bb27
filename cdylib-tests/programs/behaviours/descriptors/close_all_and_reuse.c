/* A daemon closes every descriptor, 0 to 2 among them, and uses the numbers for other files. */
#include "common.h"

#define RW (PROT_READ | PROT_WRITE)

static struct {
	const char *what;
	long result;
	int error;
} *notes;

static void close_one_by_one(void)
{
	for (int i = 0; i < 1024; i++)
		close(i);
}

static void close_a_range(void)
{
	close_range(0, ~0u, 0);
}

static void close_from(void)
{
	closefrom(0);
}

static int note(int n, const char *what, long result)
{
	notes[n].what = what;
	notes[n].result = result;
	notes[n].error = result == -1 ? errno : NO_ERROR;
	return n + 1;
}

/* Says what it found to the parent, as there is no output left. */
static int daemon_(void (*close_all)(void))
{
	int n = 0, file = open("file", O_RDWR), plain = open("plain", O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, file, 0);
	pwrite(plain, "p", 1, 0);
	pwrite(file, "W", 1, 0);
	close_all();
	n = note(n, "first open, of file", open("file", O_RDWR));
	n = note(n, "second open, of plain", open("plain", O_RDWR));
	n = note(n, "third open, of file for writing", open("file", O_WRONLY));
	n = note(n, "write to 0, the file", write(0, "WXYZ", 4));
	n = note(n, "write to 1, plain", write(1, "pppp", 4));
	n = note(n, "write to 2, the file", write(2, "WXYZ", 4));
	n = note(n, "ftruncate of 0", ftruncate(0, FILE_SIZE));
	n = note(n, "msync of the old mapping", msync(p, 4 * PAGE, MS_SYNC));
	close_all();
	n = note(n, "first open, of plain", open("plain", O_RDWR));
	n = note(n, "second open, of the file", open("file", O_RDWR));
	n = note(n, "write to 0, plain now", write(0, "pppp", 4));
	n = note(n, "write to 1, the file now", write(1, "WXYZ", 4));
	n = note(n, "a number above", dup2(1, 900));
	n = note(n, "write to it", write(900, "WXYZ", 4));
	n = note(n, "plain in its place", dup2(0, 900));
	n = note(n, "write to it now", write(900, "pppp", 4));
	n = note(n, "munmap", munmap(p, 4 * PAGE));
	return n;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *how;
		void (*close_all)(void);
	} ways[] = {{"close", close_one_by_one}, {"close_range", close_a_range}, {"closefrom", close_from}};
	begin(argc, argv);
	notes = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		memset(notes, 0, PAGE);
		pid_t child = fork();
		if (child == 0)
			_exit(daemon_(ways[i].close_all) ? 0 : 1);
		STEP(ended(child), "%s: the child", ways[i].how);
		for (int n = 0; notes[n].what; n++)
			step(notes[n].result, notes[n].error, "%s: %s", ways[i].how, notes[n].what);
	}
	return end();
}
