/* Setting and clearing fit the smallest stack that glibc allows, leave no descriptor, and raise no
 * signal. */
#include "inode_flags.h"

static long results[3];

static void *tiny(void *fd)
{
	results[0] = set_tag(*(int *)fd);
	results[1] = flags_of(*(int *)fd);
	results[2] = clear_tag(*(int *)fd);
	return NULL;
}

int main(int argc, char **argv)
{
	begin_alone(argc, argv);
	pthread_attr_t attributes;
	pthread_t thread;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
	int fd = opened("file", O_RDWR);
	for (int i = 0; i < 4; i++) {
		if (pthread_create(&thread, &attributes, tiny, &fd) || pthread_join(thread, NULL))
			die("pthread_create");
		for (size_t j = 0; j < 3; j++)
			STEP(results[j], "thread %d, call %zu", i, j);
	}
	STEP(opened("file", O_RDONLY) - fd, "the next descriptor");
	return end();
}
