/* What glibc before 2.34 has under other names, in another library than today's, or not at all. Nothing of it is
 * exported. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#pragma GCC visibility push(hidden)

#define WEAK __attribute__((weak, visibility("default")))

/* ---- stat(2): exported from glibc 2.33 on; before, and still, these with the number of the structure ---- */

struct stat64;
#define STAT_VERSION 1 /* x86-64: the kernel's */

extern int __xstat64(int version, const char *path, struct stat64 *found) __attribute__((visibility("default")));
extern int __lxstat64(int version, const char *path, struct stat64 *found) __attribute__((visibility("default")));
extern int __fxstat64(int version, int fd, struct stat64 *found) __attribute__((visibility("default")));
extern int __fxstatat64(int version, int fd, const char *path, struct stat64 *found, int flags)
    __attribute__((visibility("default")));

int stat64(const char *path, struct stat64 *found) { return __xstat64(STAT_VERSION, path, found); }

int lstat64(const char *path, struct stat64 *found) { return __lxstat64(STAT_VERSION, path, found); }

int fstat64(int fd, struct stat64 *found) { return __fxstat64(STAT_VERSION, fd, found); }

int fstatat64(int fd, const char *path, struct stat64 *found, int flags)
{
    return __fxstatat64(STAT_VERSION, fd, path, found, flags);
}

/* ---- dlsym(3) and the like: in libc from glibc 2.34 on, before in libdl ----
 *
 * To need libdl would map it into every program that the library is preloaded into; and to load it in our
 * constructor would have libc initialise itself too early. Where the program has no libdl, what libdl calls is
 * called. */

extern void *newer_dlsym(void *handle, const char *name) WEAK;
extern void *newer_dlopen(const char *path, int flags) WEAK;
extern int newer_dladdr(const void *address, Dl_info *found) WEAK;
__asm__(".symver newer_dlsym, dlsym@GLIBC_2.2.5");
__asm__(".symver newer_dlopen, dlopen@GLIBC_2.2.5");
__asm__(".symver newer_dladdr, dladdr@GLIBC_2.2.5");

/* What libc has for libdl, glibc 2.28 to 2.33 (elf/dl-sym.c, elf/dl-addr.c, elf/dl-error-skeleton.c,
 * elf/dl-libc.c). */
extern void *_dl_sym(void *handle, const char *name, void *caller) WEAK;
extern int _dl_addr(const void *address, Dl_info *found, void **map, const void **symbol) WEAK;
extern int _dl_catch_error(const char **object, const char **message, bool *is_allocated, void (*operate)(void *),
                           void *arguments) WEAK;
extern void *__libc_dlopen_mode(const char *path, int flags) WEAK;
#define CALLED_BY_LIBC 0x80000000 /* __RTLD_DLOPEN */

struct lookup {
    void *handle;
    const char *name;
    void *found;
};

static void look_up(void *arguments)
{
    struct lookup *lookup = arguments;
    /* RTLD_NEXT is behind the object that has this address. */
    lookup->found = _dl_sym(lookup->handle, lookup->name, (void *)look_up);
}

void *dlsym(void *restrict handle, const char *restrict name)
{
    struct lookup lookup = {.handle = handle, .name = name};
    const char *object, *message = NULL;
    bool is_allocated = false;

    if (newer_dlsym != NULL)
        return newer_dlsym(handle, name);
    if (_dl_sym == NULL || _dl_catch_error == NULL)
        return NULL;
    if (_dl_catch_error(&object, &message, &is_allocated, look_up, &lookup) != 0 || message != NULL) {
        if (is_allocated)
            free((char *)message);
        return NULL;
    }
    return lookup.found;
}

void *dlopen(const char *path, int flags)
{
    if (newer_dlopen != NULL)
        return newer_dlopen(path, flags);
    return __libc_dlopen_mode == NULL ? NULL : __libc_dlopen_mode(path, (int)(flags | CALLED_BY_LIBC));
}

int dladdr(const void *address, Dl_info *found)
{
    if (newer_dladdr != NULL)
        return newer_dladdr(address, found);
    return _dl_addr == NULL ? 0 : _dl_addr(address, found, NULL, NULL);
}

/* ---- __libc_single_threaded: from glibc 2.32 on ---- */

extern const char __libc_single_threaded WEAK;

/* Null: libc does not tell. */
const char *const daxshim_single_threaded = &__libc_single_threaded;

/* ---- Constructors of the command: called by libc from glibc 2.34 on, before by what was linked to it ---- */

typedef void Constructor(int argc, char **argv, char **environment);

extern int libc_start(int (*main)(int, char **, char **), int argc, char **argv, Constructor *init, void (*fini)(void),
                      void (*loader_fini)(void), void *stack) WEAK;
__asm__(".symver libc_start, __libc_start_main@GLIBC_2.2.5");

extern Constructor *__init_array_start[], *__init_array_end[];

static void construct(int argc, char **argv, char **environment)
{
    for (Constructor **each = __init_array_start; each != __init_array_end; each++)
        (*each)(argc, argv, environment);
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, Constructor *init,
                      void (*fini)(void), void (*loader_fini)(void), void *stack)
{
    return libc_start(main, argc, argv, init != NULL ? init : construct, fini, loader_fini, stack);
}
