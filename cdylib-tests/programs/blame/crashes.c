/* Dies of a fault of its own, by the default action. */
#include "blame.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	writer(p + PAGE);
	*forbidden() = 1;
	return 0;
}
