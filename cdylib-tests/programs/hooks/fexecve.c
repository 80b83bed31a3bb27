#include "executed.h"

static int (*fexecve_)(int, char *const *, char *const *);
static int program;

#define RUN(environment, count) IN_CHILD(fexecve_(program, ARGUMENTS(count), environment))

int main(int argc, char **argv)
{
	begin_executed(argc, argv);
	fexecve_ = symbol;
	program = open(self, O_RDONLY);
	FOR_ENVIRONMENTS(RUN);
	STEP(RUN(NULL, "0"), "no environment");
	STEP(IN_CHILD(fexecve_(program, NULL, EMPTY)), "no arguments");
	open_descriptors();
	FOR_DESCRIPTORS(d)
		STEP(IN_CHILD(fexecve_(d->fd, ARGUMENTS("0"), EMPTY)), "%s", d->name);
	return end();
}
