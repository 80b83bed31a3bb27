/* What it costs to make a store durable: the kernel's msync against the shim's, in one process.
 *
 * Run on a tagged file, with the shim preloaded and DAXSHIM_FLUSH unset. `with` is the msync the
 * program sees, `without` libc's own, looked up in libc's handle, which interposition does not
 * reach. Under the instruction-counting clock of scripts/vm --icount a nanosecond is an
 * instruction, and the figures are the same at every run. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 64, PAGE = 4096, PAGES = 64, ROUNDS = 64 };

typedef int msync_t(void *, size_t, int);

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Stores to `lines` lines of each of `pages` pages, then syncs `length` bytes. Nanoseconds an
 * operation, the store's fault included. Inlined with constants, so that little but stores and
 * msync is measured. */
static inline __attribute__((always_inline)) double
cost(msync_t *sync, char *map, int lines, int pages, size_t length)
{
    double start = 0;
    /* The first round faults pages in and is not counted. */
    for (int round = 0; round <= ROUNDS; round++) {
        if (round == 1)
            start = now();
        for (char *at = map; at < map + PAGES * PAGE; at += pages * PAGE) {
            for (int i = 0; i < pages; i++)
                for (int line = 0; line < lines; line++)
                    ((volatile char *)at)[i * PAGE + line * LINE] = round;
            if (sync(at, length, MS_SYNC)) {
                perror("msync");
                exit(1);
            }
        }
    }
    return (now() - start) / (ROUNDS * PAGES / pages);
}

#define CASE(name, lines, pages, length)                                                           \
    static double name(msync_t *sync, char *map) { return cost(sync, map, lines, pages, length); }
CASE(one_line, 1, 1, LINE)
CASE(one_page, PAGE / LINE, 1, PAGE)
CASE(sparse, 1, 4, 4 * PAGE)
CASE(dense, PAGE / LINE, 16, 16 * PAGE)

static const struct {
    const char *name;
    double (*cost)(msync_t *sync, char *map);
} CASES[] = {
    {"one line", one_line},
    {"one page", one_page},
    {"16 KiB, one line a page", sparse},
    {"64 KiB, all dirty", dense},
};

int main(int argc, char **argv)
{
    int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) || st.st_size < PAGES * PAGE) {
        fprintf(stderr, "usage: %s FILE (tagged, at least %d bytes)\n", argv[0], PAGES * PAGE);
        return 2;
    }
    char *map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    msync_t *with = msync;
    msync_t *without = (msync_t *)dlsym(dlopen("libc.so.6", RTLD_NOW), "msync");
    if (map == MAP_FAILED || !without) {
        perror("set-up");
        return 1;
    }
    printf("%-26s %12s %12s %8s\n", "store and msync of", "kernel, ns", "shim, ns", "cheaper");
    for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
        double kernel = CASES[c].cost(without, map);
        double shim = CASES[c].cost(with, map);
        printf("%-26s %12.0f %12.0f %7.1fx\n", CASES[c].name, kernel, shim, kernel / shim);
    }
    return 0;
}
