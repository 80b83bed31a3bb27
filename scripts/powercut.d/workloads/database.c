/* database lmdb|tdb|gdbm FILE TRANSACTIONS: a database through its own library, with its own mmap and its own syncs; each
 * transaction is acknowledged when its commit has returned. database init lmdb|tdb|gdbm FILE MIB: makes the database, as
 * large as it will ever be, before the file is tagged.
 *
 * Libraries: -llmdb -ltdb -lgdbm */
#define _GNU_SOURCE
#include "database.h"
#include "run.h"
#include <gdbm.h>
#include <lmdb.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <tdb.h>

#define CHECK(what)                                                       \
	do {                                                              \
		if (!(what)) {                                            \
			fprintf(stderr, "database: %s failed\n", #what);  \
			exit(3);                                          \
		}                                                         \
	} while (0)

static const char *file;
static char key_bytes[16];
static unsigned char value_bytes[MOST_BYTES];
static bool same_size;

static size_t name_key(unsigned key)
{
	return sprintf(key_bytes, "key%05u", key);
}

/* ---- LMDB, MDB_WRITEMAP ------------------------------------------------------------------------------------------ */

static MDB_env *lmdb;
static MDB_txn *lmdb_transaction;
static MDB_dbi lmdb_database;

static void lmdb_open(size_t size)
{
	CHECK(mdb_env_create(&lmdb) == 0);
	CHECK(mdb_env_set_mapsize(lmdb, size) == 0);
	CHECK(mdb_env_open(lmdb, file, MDB_NOSUBDIR | MDB_WRITEMAP, 0644) == 0);
	CHECK(mdb_txn_begin(lmdb, NULL, 0, &lmdb_transaction) == 0);
	CHECK(mdb_dbi_open(lmdb_transaction, NULL, 0, &lmdb_database) == 0);
	CHECK(mdb_txn_commit(lmdb_transaction) == 0);
}

static void lmdb_begin(void)
{
	CHECK(mdb_txn_begin(lmdb, NULL, 0, &lmdb_transaction) == 0);
}

static void lmdb_put(void *key, size_t key_length, void *value, size_t length)
{
	MDB_val name = {key_length, key}, content = {length, value};
	CHECK(mdb_put(lmdb_transaction, lmdb_database, &name, &content, 0) == 0);
}

static void lmdb_delete(void *key, size_t key_length)
{
	MDB_val name = {key_length, key};
	int failed = mdb_del(lmdb_transaction, lmdb_database, &name, NULL);
	CHECK(failed == 0 || failed == MDB_NOTFOUND);
}

static void lmdb_commit(void)
{
	CHECK(mdb_txn_commit(lmdb_transaction) == 0);
}

/* ---- TDB --------------------------------------------------------------------------------------------------------- */

static struct tdb_context *tdb;

static void tdb_file_open(size_t size)
{
	(void)size;
	CHECK((tdb = tdb_open(file, 131, TDB_DEFAULT, O_RDWR | O_CREAT, 0644)) != NULL);
}

static void tdb_begin(void)
{
	CHECK(tdb_transaction_start(tdb) == 0);
}

static void tdb_put(void *key, size_t key_length, void *value, size_t length)
{
	TDB_DATA name = {key, key_length}, content = {value, length};
	CHECK(tdb_store(tdb, name, content, 0) == 0);
}

static void tdb_remove(void *key, size_t key_length)
{
	TDB_DATA name = {key, key_length};
	tdb_delete(tdb, name);
}

static void tdb_commit(void)
{
	CHECK(tdb_transaction_commit(tdb) == 0);
}

/* Large records come and go, so that the file, and its recovery area, need not grow later. */
static void tdb_enlarge(void)
{
	static unsigned char large[1 << 17];
	const char *const names[] = {"large", "larger"};
	for (unsigned i = 0; i < 3; i++) {
		memset(large, i, sizeof large);
		tdb_begin();
		tdb_put((void *)names[i % 2], strlen(names[i % 2]), large, sizeof large);
		tdb_commit();
	}
	tdb_begin();
	for (unsigned i = 0; i < 2; i++)
		tdb_remove((void *)names[i], strlen(names[i]));
	tdb_commit();
}

/* ---- GDBM -------------------------------------------------------------------------------------------------------- */

static GDBM_FILE gdbm;

static void gdbm_file_open(size_t size)
{
	size_t most = 64 << 20;
	struct stat stat_of;
	int flags = stat(file, &stat_of) == 0 ? GDBM_WRITER : GDBM_NEWDB;
	(void)size;
	CHECK((gdbm = gdbm_open(file, 4096, flags, 0644, NULL)) != NULL);
	gdbm_setopt(gdbm, GDBM_SETMAXMAPSIZE, &most, sizeof most);
}

static void gdbm_begin(void)
{
}

static void gdbm_put(void *key, size_t key_length, void *value, size_t length)
{
	datum name = {key, key_length}, content = {value, length};
	CHECK(gdbm_store(gdbm, name, content, GDBM_REPLACE) == 0);
}

static void gdbm_commit(void)
{
	CHECK(gdbm_sync(gdbm) == 0);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static const struct kind {
	const char *name;
	void (*open)(size_t size);
	void (*begin)(void);
	void (*put)(void *key, size_t key_length, void *value, size_t length);
	void (*remove)(void *key, size_t key_length);
	void (*commit)(void);
} kinds[] = {
	{"lmdb", lmdb_open, lmdb_begin, lmdb_put, lmdb_delete, lmdb_commit},
	{"tdb", tdb_file_open, tdb_begin, tdb_put, tdb_remove, tdb_commit},
	{"gdbm", gdbm_file_open, gdbm_begin, gdbm_put, NULL, gdbm_commit},
};

static const struct kind *kind_of(const char *name)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	fprintf(stderr, "database: there is no '%s'\n", name);
	exit(2);
}

static void init(const struct kind *kind, size_t size)
{
	kind->open(size);
	if (kind->open == tdb_file_open)
		tdb_enlarge();
	kind->begin();
	/* GDBM has every key from the begin on. */
	for (unsigned key = 0; key < KEYS && same_size; key++) {
		size_t length = value_of(0, key, same_size, value_bytes);
		kind->put(key_bytes, name_key(key), value_bytes, length);
	}
	uint64_t none = 0;
	kind->put("last", 4, &none, sizeof none);
	kind->commit();
	if (lmdb)
		mdb_env_close(lmdb);
	if (tdb)
		tdb_close(tdb);
	if (gdbm)
		gdbm_close(gdbm);
}

int main(int argc, char **argv)
{
	struct change changes[MOST_CHANGES];
	bool is_init = argc == 5 && strcmp(argv[1], "init") == 0;
	struct stat stat_of = {0};
	if (!is_init && argc != 4)
		return 2;
	argv += is_init;
	const struct kind *kind = kind_of(argv[1]);
	file = argv[2];
	same_size = kind->remove == NULL;
	if (is_init) {
		init(kind, strtoull(argv[3], NULL, 10) << 20);
		return 0;
	}
	if (stat(file, &stat_of) != 0)
		fail(file);

	kind->open(stat_of.st_size);
	run_begins(file);
	for (uint64_t number = 1; number <= strtoull(argv[3], NULL, 10); number++) {
		transaction(0, number, argv[1][0]);
		kind->begin();
		unsigned count = changes_of(number, same_size, changes);
		for (unsigned i = 0; i < count; i++) {
			size_t length = name_key(changes[i].key);
			if (changes[i].is_deleted)
				kind->remove(key_bytes, length);
			else
				kind->put(key_bytes, length, value_bytes,
					  value_of(number, changes[i].key, same_size, value_bytes));
		}
		kind->put("last", 4, &number, sizeof number);
		kind->commit();
		acknowledge(0, number);
	}
	run_ends();
	return 0;
}
