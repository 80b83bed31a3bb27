/* TDB's transactions. Each syncs four times: what is to be put back after a power cut, that it is there, the new data,
 * that it need not be put back. Wrong: the first is left out. */
#include "database.h"

#define REPLACE 1
#define ROUNDS 20
#define RECORDS 16

typedef struct {
	unsigned char *bytes;
	size_t length;
} data;

void *tdb_open(const char *path, int hash_size, int tdb_flags, int open_flags, mode_t mode);
int tdb_close(void *database);
int tdb_transaction_start(void *database);
int tdb_transaction_commit(void *database);
int tdb_store(void *database, data key, data value, int flag);
data tdb_fetch(void *database, data key);
int tdb_check(void *database, int (*each)(data, data, void *), void *argument);

/* Every record holds the number of the last transaction. */
static void store(void *database, uint32_t number)
{
	uint32_t value[25];
	for (int i = 0; i < 25; i++)
		value[i] = number;
	must(tdb_transaction_start(database) == 0, "tdb_transaction_start");
	for (uint32_t key = 0; key < RECORDS; key++) {
		data name = {(unsigned char *)&key, sizeof key}, content = {(unsigned char *)value, sizeof value};
		must(tdb_store(database, name, content, REPLACE) == 0, "tdb_store");
	}
	must(tdb_transaction_commit(database) == 0, "tdb_transaction_commit");
}

static void *opened_as(const char *path, int flags)
{
	return tdb_open(path, 16, 0, flags, 0644);
}

static void make(void)
{
	void *database = opened_as("store", O_RDWR | O_CREAT);
	must(database, "tdb_open");
	/* After some it has all the room that it needs. */
	for (uint32_t number = 0; number < 8; number++)
		store(database, number);
	tdb_close(database);
}

/* Each of the four is fdatasync and msync. */
static bool is_first(void *address, size_t length)
{
	static int calls;
	(void)address;
	(void)length;
	return calls++ % 8 < 2;
}

static void run(void)
{
	void *database = opened_as("store", O_RDWR);
	must(database, "tdb_open");
	if (wrong)
		leaves_out = is_first;
	for (uint32_t number = 8; number < ROUNDS; number++)
		store(database, number);
	leaves_out = NULL;
	tdb_close(database);
}

static int check(const char *path)
{
	void *database = opened_as(path, O_RDWR);
	if (!database || tdb_check(database, NULL, NULL) != 0) {
		printf("it is not whole\n");
		return 1;
	}
	uint32_t first = 0, number;
	for (uint32_t key = 0; key < RECORDS; key++) {
		data found = tdb_fetch(database, (data){(unsigned char *)&key, sizeof key});
		if (found.length != 100) {
			printf("a record is gone\n");
			return 1;
		}
		for (int i = 0; i < 25; i++) {
			memcpy(&number, found.bytes + 4 * i, sizeof number);
			if (key == 0 && i == 0)
				first = number;
			if (number != first) {
				printf("records of transactions %u and %u\n", first, number);
				return 1;
			}
		}
	}
	tdb_close(database);
	return 0;
}

int main(int argc, char **argv)
{
	return start(argc, argv, make, run, check);
}
