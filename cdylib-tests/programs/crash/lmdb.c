/* LMDB with MDB_WRITEMAP. Wrong: its meta page is made durable, and not what that leads to. */
#include "database.h"

#define NOSUBDIR 0x4000
#define WRITEMAP 0x80000
#define RDONLY 0x20000
#define SIZE (1 << 20)
#define ROUNDS 40

typedef struct {
	size_t length;
	void *bytes;
} val;

int mdb_env_create(void **environment);
int mdb_env_set_mapsize(void *environment, size_t size);
int mdb_env_open(void *environment, const char *path, unsigned flags, unsigned mode);
void mdb_env_close(void *environment);
int mdb_txn_begin(void *environment, void *parent, unsigned flags, void **transaction);
int mdb_txn_commit(void *transaction);
void mdb_txn_abort(void *transaction);
int mdb_dbi_open(void *transaction, const char *name, unsigned flags, unsigned *database);
int mdb_put(void *transaction, unsigned database, val *key, val *value, unsigned flags);
int mdb_get(void *transaction, unsigned database, val *key, val *value);

static void *opened_as(const char *path, unsigned flags)
{
	void *environment;
	if (mdb_env_create(&environment) || mdb_env_set_mapsize(environment, SIZE) ||
	    mdb_env_open(environment, path, NOSUBDIR | flags, 0644))
		return NULL;
	return environment;
}

/* Transaction `number` stores its number under `count`, and under one of some other keys. */
static uint32_t key_of(uint32_t number)
{
	return number * 7919 % 97;
}

static void put(void *transaction, unsigned database, uint32_t key, uint32_t value)
{
	char bytes[200];
	memset(bytes, 0, sizeof bytes);
	memcpy(bytes, &value, sizeof value);
	must(mdb_put(transaction, database, &(val){sizeof key, &key}, &(val){sizeof bytes, bytes}, 0) == 0, "mdb_put");
}

static void store(void *environment, uint32_t number)
{
	void *transaction;
	unsigned database;
	must(mdb_txn_begin(environment, NULL, 0, &transaction) == 0, "mdb_txn_begin");
	must(mdb_dbi_open(transaction, NULL, 0, &database) == 0, "mdb_dbi_open");
	put(transaction, database, key_of(number), number);
	put(transaction, database, 1000, number);
	must(mdb_txn_commit(transaction) == 0, "mdb_txn_commit");
}

static void make(void)
{
	void *environment = opened_as("store", WRITEMAP);
	must(environment, "mdb_env_open");
	store(environment, 0);
	mdb_env_close(environment);
}

static bool is_data(void *address, size_t length)
{
	(void)address;
	return length > PAGE;
}

static void run(void)
{
	void *environment = opened_as("store", WRITEMAP);
	must(environment, "mdb_env_open");
	if (wrong)
		leaves_out = is_data;
	for (uint32_t number = 1; number < ROUNDS; number++)
		store(environment, number);
	leaves_out = NULL;
	mdb_env_close(environment);
}

static long got(void *transaction, unsigned database, uint32_t key)
{
	val value;
	uint32_t number;
	if (mdb_get(transaction, database, &(val){sizeof key, &key}, &value) || value.length != 200)
		return -1;
	memcpy(&number, value.bytes, sizeof number);
	return number;
}

static int check(const char *path)
{
	void *environment = opened_as(path, RDONLY), *transaction;
	unsigned database;
	if (!environment || mdb_txn_begin(environment, NULL, RDONLY, &transaction) ||
	    mdb_dbi_open(transaction, NULL, 0, &database)) {
		printf("it does not open\n");
		return 1;
	}
	long count = got(transaction, database, 1000);
	bool seen[97] = {false};
	for (long number = count; number >= 0; number--) {
		uint32_t key = key_of(number);
		if (!seen[key] && got(transaction, database, key) != number) {
			printf("transaction %ld of %ld is not whole\n", number, count);
			return 1;
		}
		seen[key] = true;
	}
	mdb_txn_abort(transaction);
	return count < 0;
}

int main(int argc, char **argv)
{
	return start(argc, argv, make, run, check);
}
