/* Does what its arguments say, in order. The first is a file, mapped on first need. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

static const char *path;
static int file = -1;
static char *map;
static size_t size;
static volatile sig_atomic_t terminated;

static void on_term(int number) { (void)number; terminated = 1; }

static int opened(void) {
    struct stat st;
    if (file < 0) {
        file = open(path, O_RDWR);
        if (file < 0 || fstat(file, &st) != 0) { perror(path); exit(90); }
        size = (size_t)st.st_size;
    }
    return file;
}

static char *mapped(void) {
    if (map == NULL) {
        opened();
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (map == MAP_FAILED) { perror("mmap"); exit(91); }
    }
    return map;
}

static void in_child(int exec) {
    pid_t child = fork();
    if (child == 0) {
        if (exec) execl("/proc/self/exe", "actor", path, "msync", "write", NULL);
        mapped()[0]++;
        _exit(msync(map, 4096, MS_SYNC) != 0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) exit(92);
}

int main(int argc, char **argv) {
    path = argv[1];
    for (int i = 2; i < argc; i++) {
        const char *op = argv[i];
        if (strcmp(op, "map") == 0) mapped();
        else if (strcmp(op, "map-read-only") == 0) mmap(NULL, 4096, PROT_READ, MAP_SHARED, opened(), 0);
        else if (strcmp(op, "msync") == 0) { mapped()[0]++; if (msync(map, 4096, MS_SYNC) != 0) exit(93); }
        else if (strcmp(op, "msync-all") == 0) { mapped(); if (msync(map, size, MS_SYNC) != 0) exit(93); }
        else if (strcmp(op, "protect") == 0) { mapped(); if (mprotect(map, size, PROT_NONE) != 0) exit(94); }
        else if (strcmp(op, "unmap-half") == 0) { mapped(); if (munmap(map + size / 2, size / 2) != 0) exit(94); }
        else if (strcmp(op, "fsync") == 0) fsync(opened());
        else if (strcmp(op, "write") == 0) (void)!write(opened(), "x", 1);
        else if (strcmp(op, "truncate") == 0) { opened(); (void)!ftruncate(file, (off_t)size); }
        else if (strcmp(op, "set-times") == 0) {
            struct timeval times[2] = {{1000, 0}, {1000, 0}};
            struct timespec now[2] = {{1000, 0}, {1000, 0}};
            utime(path, NULL); utimes(path, times); futimes(opened(), times); lutimes(path, times);
            futimens(file, now); futimesat(AT_FDCWD, path, times); utimensat(AT_FDCWD, path, now, 0);
        }
        else if (strcmp(op, "change-modes") == 0) {
            chmod(path, 0600); lchmod(path, 0600); fchmod(opened(), 0600);
            fchmodat(AT_FDCWD, path, 0600, AT_SYMLINK_NOFOLLOW);
        }
        else if (strcmp(op, "fork") == 0) in_child(0);
        else if (strcmp(op, "exec") == 0) in_child(1);
        else if (strcmp(op, "io-uring") == 0) syscall(SYS_io_uring_setup, 0, NULL);
        else if (strcmp(op, "kill") == 0) kill(getpid(), atoi(argv[++i]));
        else if (strcmp(op, "exit") == 0) return atoi(argv[++i]);
        else if (strcmp(op, "signals") == 0) {
            struct sigaction pipe, child; sigset_t mask;
            sigaction(SIGPIPE, NULL, &pipe); sigaction(SIGCHLD, NULL, &child);
            sigprocmask(SIG_BLOCK, NULL, &mask);
            printf("pipe %d child %d usr1 %d int %d\n", pipe.sa_handler == SIG_IGN,
                   child.sa_handler == SIG_IGN, sigismember(&mask, SIGUSR1), sigismember(&mask, SIGINT));
        }
        else if (strcmp(op, "await-term") == 0) {
            sigset_t mask, before;
            signal(SIGTERM, on_term);
            sigemptyset(&mask); sigaddset(&mask, SIGTERM);
            sigprocmask(SIG_BLOCK, &mask, &before);
            printf("%s\n", getenv("DAXSHIM_REPORT")); fflush(stdout);
            while (!terminated) sigsuspend(&before);
            return 42;
        }
        else if (strcmp(op, "leave-daemon") == 0) {
            int ready[2]; char byte;
            if (pipe(ready) != 0) exit(94);
            if (fork() == 0) {
                mapped()[0]++; msync(map, 4096, MS_SYNC);
                (void)!write(ready[1], "x", 1);
                close(ready[1]); close(1); close(2);
                while (read(0, &byte, 1) > 0) {}
                _exit(0);
            }
            (void)!read(ready[0], &byte, 1);
        }
        else exit(95);
    }
    return 0;
}
