/* What LD_PRELOAD adds to the smallest program: time of /bin/true and peak resident memory of
 * grep, with and without, in turn; medians.
 *
 * Usage: startup LIBRARY */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RUNS = 501 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, RUNS, sizeof *values, ascending);
    return values[RUNS / 2];
}

/* Runs a program with one environment variable; microseconds. */
static double run(char **arguments, char *variable, posix_spawn_file_actions_t *actions)
{
    char *environment[] = {variable, NULL};
    pid_t child;
    int status;
    double start = now();
    if (posix_spawn(&child, arguments[0], actions, NULL, arguments, environment) ||
        waitpid(child, &status, 0) != child || status) {
        perror(arguments[0]);
        exit(1);
    }
    return now() - start;
}

/* Peak resident memory of a program that tells its own, KiB. (ru_maxrss would tell that of the
 * process that spawned it.) */
static double resident(char *variable)
{
    char *arguments[] = {"/bin/grep", "VmHWM", "/proc/self/status", NULL};
    char line[128];
    int ends[2];
    posix_spawn_file_actions_t actions;
    ssize_t length;
    if (pipe(ends) || posix_spawn_file_actions_init(&actions) ||
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)) {
        perror("set-up");
        exit(1);
    }
    run(arguments, variable, &actions);
    length = read(ends[0], line, sizeof line - 1);
    line[length > 0 ? length : 0] = 0;
    close(ends[0]);
    close(ends[1]);
    posix_spawn_file_actions_destroy(&actions);
    return strtod(strpbrk(line, "0123456789"), NULL);
}

int main(int argc, char **argv)
{
    static double time[2][RUNS], memory[2][RUNS];
    char *true_arguments[] = {"/bin/true", NULL};
    char *variable[2] = {"NOTHING=1", NULL};
    if (argc != 2 || asprintf(&variable[1], "LD_PRELOAD=%s", argv[1]) < 0) {
        fprintf(stderr, "usage: %s LIBRARY\n", argv[0]);
        return 2;
    }
    for (int i = 0; i < RUNS; i++)
        for (int j = 0; j < 2; j++) {
            int with = (i + j) % 2;
            time[with][i] = run(true_arguments, variable[with], NULL);
            memory[with][i] = resident(variable[with]);
        }
    double without_us = median(time[0]), with_us = median(time[1]);
    double without_kib = median(memory[0]), with_kib = median(memory[1]);
    printf("%-28s %10s %10s %10s\n", "start", "with", "without", "added");
    printf("%-28s %10.0f %10.0f %10.0f\n", "/bin/true, us", with_us, without_us,
           with_us - without_us);
    printf("%-28s %10.0f %10.0f %10.0f\n", "grep, peak resident KiB", with_kib, without_kib,
           with_kib - without_kib);
    return 0;
}
