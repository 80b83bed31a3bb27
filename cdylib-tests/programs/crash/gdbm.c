/* GDBM, which has no transactions: one record is synced before another one says so. Wrong: it is not. */
#include "database.h"

#define READER 0
#define WRITER 1
#define NEWDB 3
#define REPLACE 1
#define ROUNDS 20

typedef struct {
	char *bytes;
	int length;
} datum;

void *gdbm_open(const char *path, int block_size, int flags, int mode, void (*fatal)(const char *));
int gdbm_close(void *database);
int gdbm_store(void *database, datum key, datum value, int flag);
datum gdbm_fetch(void *database, datum key);
int gdbm_sync(void *database);

static void store(void *database, char *key, char number)
{
	char value[1000];
	memset(value, 'v', sizeof value);
	value[500] = number;
	must(gdbm_store(database, (datum){key, 1}, (datum){value, sizeof value}, REPLACE) == 0, "gdbm_store");
}

static void make(void)
{
	void *database = gdbm_open("store", 4096, NEWDB, 0644, NULL);
	must(database, "gdbm_open");
	store(database, "a", 0);
	store(database, "b", 0);
	gdbm_close(database);
}

static bool any(void *address, size_t length)
{
	(void)address;
	(void)length;
	return true;
}

static void run(void)
{
	void *database = gdbm_open("store", 4096, WRITER, 0644, NULL);
	must(database, "gdbm_open");
	for (char number = 1; number < ROUNDS; number++) {
		store(database, "a", number);
		leaves_out = wrong ? any : NULL;
		must(gdbm_sync(database) == 0, "gdbm_sync");
		leaves_out = NULL;
		store(database, "b", number);
		must(gdbm_sync(database) == 0, "gdbm_sync");
	}
	gdbm_close(database);
}

static int check(const char *path)
{
	void *database = gdbm_open(path, 4096, READER, 0644, NULL);
	if (!database) {
		printf("it does not open\n");
		return 1;
	}
	datum a = gdbm_fetch(database, (datum){"a", 1}), b = gdbm_fetch(database, (datum){"b", 1});
	if (a.length != 1000 || b.length != 1000 || a.bytes[500] < b.bytes[500]) {
		printf("b says what a does not\n");
		return 1;
	}
	gdbm_close(database);
	return 0;
}

int main(int argc, char **argv)
{
	return start(argc, argv, make, run, check);
}
