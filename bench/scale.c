/* Whether calls cost more where there is much to know: the ratio of a call with the shim to the same
 * call without it, first alone, then with every tagged file of a directory open and mapped and 65,536
 * descriptors in use (fewer where the hard limit says so), then with 64 threads that make the call at once.
 *
 * Started as PROGRAM DIRECTORY, under the library. As in untagged.c, `without` is a second libc. */
#define _GNU_SOURCE
#include "blocks.h"
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCKS = 201, THREADS = 64, DESCRIPTORS = 65536, ROOM = 200 };

static int null_fd, file_fd, tagged_fd;
static char path[] = "/dev/shm/daxshim-bench-XXXXXX";
static char page[4096];

typedef void run(void *function, int calls);

#define RUN(name, type, call)                                                                      \
    static void name(void *function, int calls)                                                    \
    {                                                                                              \
        type *f = (type *)function;                                                                \
        for (int i = 0; i < calls; i++) {                                                          \
            call;                                                                                  \
        }                                                                                          \
    }

typedef ssize_t write_t(int, const void *, size_t);
typedef ssize_t pwrite_t(int, const void *, size_t, off_t);
typedef int open_t(const char *, int, ...);
typedef int dup_t(int);
typedef int fcntl_t(int, int, ...);
typedef void *mmap_t(void *, size_t, int, int, int, off_t);
typedef int munmap_t(void *, size_t);
typedef int chmod_t(const char *, mode_t);

RUN(write_null, write_t, f(null_fd, page, 64))
RUN(pwrite_file, pwrite_t, f(file_fd, page, 64, 0))
RUN(open_read_only, open_t, close(f(path, O_RDONLY)))
RUN(open_for_writing, open_t, close(f(path, O_WRONLY)))
RUN(dup_close, dup_t, close(f(null_fd)))
RUN(close_dup, dup_t, f(dup(null_fd)))
RUN(fcntl_getfl, fcntl_t, f(null_fd, F_GETFL))
RUN(mmap_anonymous, mmap_t,
    munmap(f(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096))
RUN(munmap_anonymous, munmap_t,
    f(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096))
RUN(mmap_file, mmap_t, munmap(f(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file_fd, 0), 4096))
RUN(mmap_tagged, mmap_t,
    munmap(f(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, tagged_fd, 0), 4096))
RUN(chmod_path, chmod_t, f(path, 0600))

static const struct {
    const char *name, *symbol;
    run *run;
    int calls;
} CASES[] = {
    {"write 64 B to /dev/null", "write", write_null, 500},
    {"pwrite 64 B to a file", "pwrite", pwrite_file, 300},
    {"open O_RDONLY", "open", open_read_only, 100},
    {"open O_WRONLY", "open", open_for_writing, 100},
    {"dup", "dup", dup_close, 200},
    {"close", "close", close_dup, 200},
    {"fcntl F_GETFL", "fcntl", fcntl_getfl, 500},
    {"mmap anonymous", "mmap", mmap_anonymous, 100},
    {"munmap anonymous", "munmap", munmap_anonymous, 100},
    {"mmap of an untagged file", "mmap", mmap_file, 100},
    {"mmap of a tagged file", "mmap", mmap_tagged, 30},
    {"chmod by path", "chmod", chmod_path, 100},
};
enum { NUMBER = sizeof CASES / sizeof *CASES };

/* ---- all threads make the same calls at once ---- */

static pthread_barrier_t begin, end;
static run *current;
static void *function;
static int calls;
static atomic_bool finished;

static void *working(void *unused)
{
    (void)unused;
    for (;;) {
        pthread_barrier_wait(&begin);
        if (finished)
            return NULL;
        current(function, calls);
        pthread_barrier_wait(&end);
    }
}

static double timed(run *run, void *with, int count, int threads)
{
    double start = now();
    if (threads == 1) {
        run(with, count);
    } else {
        current = run, function = with, calls = count;
        start = now();
        pthread_barrier_wait(&begin);
        pthread_barrier_wait(&end);
    }
    return now() - start;
}

/* The median of the ratios of neighbouring blocks. */
static double ratio(int c, void *libc, int threads)
{
    void *with = dlsym(RTLD_DEFAULT, CASES[c].symbol), *without = dlsym(libc, CASES[c].symbol);
    int blocks = threads == 1 ? BLOCKS : BLOCKS / 8 | 1;
    int count = threads == 1 ? CASES[c].calls : (CASES[c].calls + 9) / 10;
    double ratios[BLOCKS];
    timed(CASES[c].run, with, count, threads);
    for (int i = 0; i < blocks; i++) {
        double first = timed(CASES[c].run, i % 2 ? with : without, count, threads);
        double second = timed(CASES[c].run, i % 2 ? without : with, count, threads);
        ratios[i] = i % 2 ? first / second : second / first;
    }
    return median(ratios, blocks);
}

/* Opens and maps every file there; returns how many. */
static int open_all(const char *directory)
{
    int n = 0;
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_type != DT_REG)
            continue;
        int fd = openat(dirfd(dir), entry->d_name, O_RDWR);
        if (fd < 0 || mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
            break;
        tagged_fd = fd;
        n++;
    }
    if (dir)
        closedir(dir);
    return n;
}

int main(int argc, char **argv)
{
    void *libc = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    struct rlimit limit;
    double alone[NUMBER], many[NUMBER];
    char one[4096];

    null_fd = open("/dev/null", O_WRONLY);
    file_fd = mkstemp(path);
    snprintf(one, sizeof one, "%s/00000", argc > 1 ? argv[1] : "");
    tagged_fd = open(one, O_RDWR);
    if (!libc || null_fd < 0 || file_fd < 0 || tagged_fd < 0 || ftruncate(file_fd, 4096) ||
        getrlimit(RLIMIT_NOFILE, &limit)) {
        perror("set-up");
        return 1;
    }
    /* As many as this user may have. */
    struct rlimit wanted = {DESCRIPTORS + ROOM, DESCRIPTORS + ROOM};
    if (setrlimit(RLIMIT_NOFILE, &wanted)) {
        wanted.rlim_cur = wanted.rlim_max = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &wanted);
    }
    int descriptors = wanted.rlim_cur - ROOM;
    for (int c = 0; c < NUMBER; c++)
        alone[c] = ratio(c, libc, 1);

    int files = open_all(argv[1]), last = 0;
    while (last < descriptors - 1 && last >= 0) {
        last = dup(null_fd);
        /* Known, as after any use of it. */
        if (write(last, page, 1) < 0)
            break;
    }
    /* The highest one is used. */
    null_fd = last;
    if (last < 0) {
        perror("many descriptors");
        return 1;
    }
    printf("%d tagged files open and mapped, descriptors up to %d\n", files, null_fd);
    for (int c = 0; c < NUMBER; c++)
        many[c] = ratio(c, libc, 1);

    pthread_t threads[THREADS];
    pthread_barrier_init(&begin, NULL, THREADS + 1);
    pthread_barrier_init(&end, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, working, NULL);
    printf("%-28s %10s %10s %12s\n", "call: ratio", "alone", "with all", "64 threads");
    for (int c = 0; c < NUMBER; c++) {
        double all = ratio(c, libc, THREADS);
        printf("%-28s %10.3f %10.3f %12.3f\n", CASES[c].name, alone[c], many[c], all);
        fflush(stdout);
    }
    finished = true;
    pthread_barrier_wait(&begin);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    unlink(path);
    return 0;
}
