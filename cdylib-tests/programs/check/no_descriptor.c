/* Forks where no descriptor is to be had: the child stores and syncs, and nobody can tell. */
#include "check.h"

#include <sys/resource.h>

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	struct rlimit limit;
	must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	rlim_t before = limit.rlim_cur;
	limit.rlim_cur = 0;
	if (wrong)
		must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
	if (in_child()) {
		p[0] ^= 1;
		sync_range(p, 1);
		_exit(0);
	}
	limit.rlim_cur = before;
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
	return 0;
}
