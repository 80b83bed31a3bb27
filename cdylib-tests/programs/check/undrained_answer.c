#include "check.h"
#include "libpmem.h"

static NOINLINE void bug(int to)
{
	must(send(to, "OK", 2, 0) == 2, "send");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int ends[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
	char *p = mapped("file", 4);
	p[PAGE] ^= 1;
	pmem_flush(p + PAGE, 1);
	if (!wrong)
		pmem_drain();
	bug(ends[0]);
	pmem_drain();
	return 0;
}
