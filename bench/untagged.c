/* What an untagged call costs with the shim, as a ratio to the same call without it.
 *
 * Both go through the same machine code here: `with` is the symbol as the program sees it (the
 * shim's, when preloaded), `without` that of a second libc, in a namespace of its own, which the
 * shim does not reach. Blocks of calls alternate; the median of the ratios of neighbouring blocks is
 * what counts, as these move together when the machine's speed drifts.
 *
 * untagged [DIRECTORY [BLOCKS]]: where its file is, and how many blocks of each (at most 601). */
#define _GNU_SOURCE
#include "blocks.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BLOCKS = MOST_ROUNDS };

static int blocks = BLOCKS;

static int null_fd, file_fd, pipe_fd[2];
static char path[4096];
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
typedef ssize_t writev_t(int, const struct iovec *, int);
typedef int open_t(const char *, int, ...);
typedef int dup_t(int);
typedef int fcntl_t(int, int, ...);
typedef void *mmap_t(void *, size_t, int, int, int, off_t);
typedef int munmap_t(void *, size_t);
typedef int chmod_t(const char *, mode_t);

RUN(write_null, write_t, f(null_fd, page, 64))
RUN(write_file, write_t, (f(file_fd, page, 64), lseek(file_fd, 0, SEEK_SET)))
RUN(write_pipe, write_t, (f(pipe_fd[1], page, 64), read(pipe_fd[0], page, 64)))
RUN(pwrite_file, pwrite_t, f(file_fd, page, 4096, 0))
RUN(writev_null, writev_t, f(null_fd, &((struct iovec){page, 64}), 1))
RUN(open_read_only, open_t, close(f(path, O_RDONLY)))
RUN(open_for_writing, open_t, close(f(path, O_WRONLY)))
RUN(dup_close, dup_t, close(f(null_fd)))
RUN(close_dup, dup_t, f(dup(null_fd)))
RUN(fcntl_getfl, fcntl_t, f(null_fd, F_GETFL))
RUN(mmap_anonymous, mmap_t,
    munmap(f(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096))
RUN(mmap_file, mmap_t, munmap(f(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file_fd, 0), 4096))
RUN(munmap_anonymous, munmap_t,
    f(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096))
RUN(chmod_path, chmod_t, f(path, 0600))

/* A stream of each libc, as they know nothing of each other's. */
static struct stdio {
    typeof(fwrite) *fwrite;
    typeof(fflush) *fflush;
    FILE *stream;
} streams[2];

static void fwrite_fflush(void *function, int calls)
{
    struct stdio *own = &streams[function != (void *)streams[0].fflush];
    for (int i = 0; i < calls; i++) {
        own->fwrite(page, 64, 1, own->stream);
        own->fflush(own->stream);
    }
}

static void open_stream(struct stdio *stdio, void *libc)
{
    typeof(fopen) *fopen_ = (typeof(fopen) *)dlsym(libc, "fopen");
    stdio->fwrite = (typeof(fwrite) *)dlsym(libc, "fwrite");
    stdio->fflush = (typeof(fflush) *)dlsym(libc, "fflush");
    stdio->stream = fopen_("/dev/null", "w");
}

static const struct {
    const char *name, *symbol;
    run *run;
    int calls;
} CASES[] = {
    {"write 64 B to /dev/null", "write", write_null, 1000},
    {"write 64 B to a file", "write", write_file, 500},
    {"write 64 B to a pipe", "write", write_pipe, 300},
    {"pwrite 4 KiB to a file", "pwrite", pwrite_file, 500},
    {"writev 64 B to /dev/null", "writev", writev_null, 1000},
    {"fwrite, fflush 64 B", "fflush", fwrite_fflush, 500},
    {"open O_RDONLY", "open", open_read_only, 300},
    {"open O_WRONLY", "open", open_for_writing, 300},
    {"dup", "dup", dup_close, 500},
    {"close", "close", close_dup, 500},
    {"fcntl F_GETFL", "fcntl", fcntl_getfl, 1000},
    {"mmap anonymous", "mmap", mmap_anonymous, 300},
    {"munmap anonymous", "munmap", munmap_anonymous, 300},
    {"mmap of a file", "mmap", mmap_file, 300},
    {"chmod by path", "chmod", chmod_path, 300},
};

static double timed(run *run, void *function, int calls)
{
    double start = now();
    run(function, calls);
    return (now() - start) / calls;
}

int main(int argc, char **argv)
{
    if (argc > 2)
        blocks = atoi(argv[2]);
    if (blocks < 1 || blocks > BLOCKS) {
        fprintf(stderr, "untagged: %s blocks: it has to be 1 to %d\n", argv[2], BLOCKS);
        return 1;
    }
    snprintf(path, sizeof path, "%s/daxshim-bench-XXXXXX", argc > 1 ? argv[1] : "/dev/shm");
    void *libc = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    null_fd = open("/dev/null", O_WRONLY);
    file_fd = mkstemp(path);
    if (!libc || null_fd < 0 || file_fd < 0 || pipe(pipe_fd) || ftruncate(file_fd, 4096)) {
        perror("set-up");
        return 1;
    }
    open_stream(&streams[0], RTLD_DEFAULT);
    open_stream(&streams[1], libc);
    printf("%-28s %10s %10s %8s\n", "call", "with, ns", "without", "ratio");
    for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
        void *with = dlsym(RTLD_DEFAULT, CASES[c].symbol);
        void *without = dlsym(libc, CASES[c].symbol);
        double a[BLOCKS], b[BLOCKS];
        timed(CASES[c].run, with, CASES[c].calls);
        for (int i = 0; i < blocks; i++) {
            if (i % 2) {
                a[i] = timed(CASES[c].run, with, CASES[c].calls);
                b[i] = timed(CASES[c].run, without, CASES[c].calls);
            } else {
                b[i] = timed(CASES[c].run, without, CASES[c].calls);
                a[i] = timed(CASES[c].run, with, CASES[c].calls);
            }
        }
        printf("%-28s %10.1f %10.1f %8.3f\n", CASES[c].name, median(a, blocks), median(b, blocks),
               median_ratio(a, b, blocks));
        fflush(stdout);
    }
    unlink(path);
    return 0;
}
