/* Maps a file while there are modules some of whose calls can't be turned: MODULE, and if THREAD is there,
 * another thread. */
#include "modules.h"

static void *wait_for_it(void *end_of_pipe)
{
	char byte;
	return read((int)(long)end_of_pipe, &byte, 1) ? NULL : NULL;
}

int main(int argc, char **argv)
{
	int ends[2];
	pthread_t thread;
	bool threaded = argc > 4;
	begin(argc, argv);
	if (pipe(ends) || (threaded && pthread_create(&thread, NULL, wait_for_it, (void *)(long)ends[0])))
		die("pthread_create");
	load(arguments[3], RTLD_NOW);
	map("file");
	close(ends[1]);
	if (threaded)
		pthread_join(thread, NULL);
	return end();
}
