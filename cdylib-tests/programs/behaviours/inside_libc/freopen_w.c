/* freopen("w") truncates: refused; the old stream is closed as ever. */
#include "common.h"

static int shut(FILE *stream)
{
	return stream ? fclose(stream) : -1;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	FILE *(*freopen_)(const char *, const char *, FILE *) = symbol;
	static const char *const modes[] = {"w", "w+", "r", "r+", "a", "q"};
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		FILE *stream = fopen("plain", "r+");
		int number = fileno(stream);
		STEP(shut(freopen_("file", modes[i], stream)), "plain becomes file \"%s\"", modes[i]);
		STEP(fcntl(number, F_GETFD), "its number after \"%s\"", modes[i]);
		stream = fopen("file", "r+");
		STEP(shut(freopen_("plain", modes[i], stream)), "file becomes plain \"%s\"", modes[i]);
		stream = fopen("file", "r");
		STEP(shut(freopen_(NULL, modes[i], stream)), "file \"r\" becomes \"%s\"", modes[i]);
	}
	return end();
}
