/* Streams read inside libc. */
#include "common.h"

static void read_from(const char *name)
{
	char bytes[8], *line = NULL;
	size_t room = 0;
	FILE *stream = fopen(name, "r");
	STEP(fread(bytes, 1, 4, stream), "fread %s", name);
	STEP(ferror(stream) != 0, "ferror %s", name);
	fclose(stream);
	stream = fopen(name, "r");
	STEP(getc(stream), "getc %s", name);
	fclose(stream);
	stream = fopen(name, "r");
	STEP(fgets(bytes, sizeof bytes, stream) != NULL, "fgets %s", name);
	fclose(stream);
	stream = fopen(name, "r+");
	STEP(getline(&line, &room, stream), "getline %s", name);
	fclose(stream);
	stream = fopen(name, "r");
	setvbuf(stream, NULL, _IONBF, 0);
	STEP(fread(bytes, 1, 4, stream), "unbuffered fread %s", name);
	fclose(stream);
	stream = fdopen(open(name, O_RDONLY), "r");
	STEP(fscanf(stream, "%3s", bytes), "fscanf %s", name);
	fclose(stream);
	free(line);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	static char much[20000];
	read_from("file");
	read_from("plain");
	FILE *stream = fopen("file", "r");
	STEP(fread(much, 1, sizeof much, stream) == FILE_SIZE, "all of file");
	fclose(stream);
	ssize_t (*of_libc)(int, void *, size_t) = dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "read");
	STEP(of_libc(FILE_FD, much, 4), "libc's own read");
	stream = popen("echo text", "r");
	STEP(getc(stream), "getc from a pipe");
	STEP(pclose(stream), "pclose");
	return end();
}
