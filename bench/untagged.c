/* What an untagged call costs with the shim, as a ratio to the same call without it.
 *
 * Two processes make the same calls, one with the library preloaded. Blocks of calls alternate; the
 * median of the ratios of neighbouring blocks is what counts, as these move together when the
 * machine's speed drifts. (A second libc in one process would not do: the shim turns that one's
 * system calls, too.)
 *
 * untagged LIBRARY [DIRECTORY [BLOCKS]]: where its files are, and how many blocks of each (at most
 * 601). An empty LIBRARY compares the bare process with itself, which is the noise. */
#define _GNU_SOURCE
#include "blocks.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the process that makes the calls ---- */

static int null_fd, file_fd, pipe_fd[2];
static char path[4096];
static char page[4096];
static char *map;
static FILE *stream;

typedef void run(int calls);

#define RUN(name, call)                                                                            \
    static void name(int calls)                                                                    \
    {                                                                                              \
        for (int i = 0; i < calls; i++) {                                                          \
            call;                                                                                  \
        }                                                                                          \
    }

RUN(write_null, write(null_fd, page, 64))
RUN(write_file, (write(file_fd, page, 64), lseek(file_fd, 0, SEEK_SET)))
RUN(write_pipe, (write(pipe_fd[1], page, 64), read(pipe_fd[0], page, 64)))
RUN(pwrite_file, pwrite(file_fd, page, 4096, 0))
RUN(writev_null, writev(null_fd, &((struct iovec){page, 64}), 1))
RUN(fwrite_fflush, (fwrite(page, 64, 1, stream), fflush(stream)))
RUN(open_read_only, close(open(path, O_RDONLY)))
RUN(open_for_writing, close(open(path, O_WRONLY)))
RUN(dup_close, close(dup(null_fd)))
RUN(fcntl_getfl, fcntl(null_fd, F_GETFL))
RUN(mmap_anonymous, munmap(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096))
RUN(mmap_file, munmap(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file_fd, 0), 4096))
RUN(msync_file, msync(map, 4096, MS_SYNC))
RUN(msync_async, msync(map, 4096, MS_ASYNC))
RUN(fdatasync_file, fdatasync(file_fd))
RUN(ftruncate_file, ftruncate(file_fd, 4096))
RUN(fchmod_file, fchmod(file_fd, 0600))
RUN(chmod_path, chmod(path, 0600))

static const struct {
    const char *name;
    run *run;
    int calls;
} CASES[] = {
    {"write 64 B to /dev/null", write_null, 1000},
    {"write 64 B to a file", write_file, 500},
    {"write 64 B to a pipe", write_pipe, 300},
    {"pwrite 4 KiB to a file", pwrite_file, 500},
    {"writev 64 B to /dev/null", writev_null, 1000},
    {"fwrite and fflush 64 B", fwrite_fflush, 500},
    {"open O_RDONLY and close", open_read_only, 300},
    {"open O_WRONLY and close", open_for_writing, 300},
    {"dup and close", dup_close, 500},
    {"fcntl F_GETFL", fcntl_getfl, 1000},
    {"mmap and munmap, anonymous", mmap_anonymous, 300},
    {"mmap and munmap of a file", mmap_file, 300},
    {"msync MS_SYNC", msync_file, 500},
    {"msync MS_ASYNC", msync_async, 1000},
    {"fdatasync", fdatasync_file, 500},
    {"ftruncate to its size", ftruncate_file, 300},
    {"fchmod", fchmod_file, 300},
    {"chmod by path", chmod_path, 300},
};
enum { COUNT = sizeof CASES / sizeof *CASES };

/* Makes calls of the cases that are asked for, and answers what one took. */
static int serve(const char *directory)
{
    snprintf(path, sizeof path, "%s/daxshim-bench-XXXXXX", directory);
    null_fd = open("/dev/null", O_WRONLY);
    file_fd = mkstemp(path);
    if (null_fd < 0 || file_fd < 0 || pipe(pipe_fd) || ftruncate(file_fd, 4096)) {
        perror("set-up");
        return 1;
    }
    map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file_fd, 0);
    stream = fopen("/dev/null", "w");
    for (unsigned char asked; read(0, &asked, 1) == 1 && asked < COUNT;) {
        double start = now();
        CASES[asked].run(CASES[asked].calls);
        double took = (now() - start) / CASES[asked].calls;
        if (write(1, &took, sizeof took) != sizeof took)
            break;
    }
    unlink(path);
    return 0;
}

/* ---- the one that asks ---- */

struct server {
    pid_t pid;
    int ask, answer;
};

static struct server started(const char *library, const char *directory)
{
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)) {
        perror("pipe");
        exit(1);
    }
    struct server server = {fork(), to[1], from[0]};
    if (server.pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        setenv("LD_PRELOAD", library, 1);
        execl("/proc/self/exe", "untagged", "--serve", directory, NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    return server;
}

static double timed(struct server server, unsigned char asked)
{
    double took;
    if (write(server.ask, &asked, 1) != 1 || read(server.answer, &took, sizeof took) != sizeof took) {
        fprintf(stderr, "untagged: a process that makes the calls has ended\n");
        exit(1);
    }
    return took;
}

static int ended(struct server server)
{
    int status;
    close(server.ask);
    return waitpid(server.pid, &status, 0) < 0 || status;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--serve"))
        return serve(argv[2]);
    int blocks = argc > 3 ? atoi(argv[3]) : MOST_ROUNDS;
    if (argc < 2 || blocks < 1 || blocks > MOST_ROUNDS) {
        fprintf(stderr, "usage: untagged LIBRARY [DIRECTORY [BLOCKS]] (1 to %d blocks)\n", MOST_ROUNDS);
        return 1;
    }
    const char *directory = argc > 2 ? argv[2] : "/dev/shm";
    struct server with = started(argv[1], directory), without = started("", directory);
    printf("%-28s %10s %10s %8s\n", "call", "with, ns", "without", "ratio");
    for (unsigned char c = 0; c < COUNT; c++) {
        double a[MOST_ROUNDS], b[MOST_ROUNDS];
        timed(with, c);
        timed(without, c);
        for (int i = 0; i < blocks; i++) {
            if (i % 2) {
                a[i] = timed(with, c);
                b[i] = timed(without, c);
            } else {
                b[i] = timed(without, c);
                a[i] = timed(with, c);
            }
        }
        printf("%-28s %10.1f %10.1f %8.3f\n", CASES[c].name, median(a, blocks), median(b, blocks),
               median_ratio(a, b, blocks));
        fflush(stdout);
    }
    return ended(with) | ended(without);
}
