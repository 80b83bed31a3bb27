/* A fault of its own ends it, ignored or not. */
#include "blame.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	signal(SIGSEGV, SIG_IGN);
	char *p = mapped("file", 4);
	writer(p + PAGE);
	*forbidden() = 1;
	return 0;
}
