/* A temporary file takes the number that a tagged one had: it is nobody's business. */
#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*mkstemp_)(char *) = symbol;
	for (int i = 0; i < 3; i++) {
		char name[] = "temporaryXXXXXX", other[] = "otherXXXXXX.suffix";
		int fd = open("file", O_RDWR);
		STEP(write(fd, "WXYZ", 4), "file, turn %d", i);
		close(fd);
		STEP(mkstemp_(name) == fd, "mkstemp takes its number, turn %d", i);
		STEP(write(fd, "WXYZ", 4), "write, turn %d", i);
		STEP(ftruncate(fd, 10), "ftruncate, turn %d", i);
		STEP(unlink(name), "unlink, turn %d", i);
		close(fd);
		STEP(closing(mkostemps(other, 7, O_APPEND)) == fd, "mkostemps, turn %d", i);
		STEP(unlink(other), "unlink that, turn %d", i);
		FILE *stream = tmpfile();
		STEP(fputs("WXYZ", stream) >= 0, "fputs to tmpfile, turn %d", i);
		STEP(fclose(stream), "fclose, turn %d", i);
	}
	return end();
}
