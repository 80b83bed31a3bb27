/* What each program knows of itself, and how it fails. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include "raw.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096
#define FILE_SIZE (4 * PAGE)
#define PLAIN_SIZE 100
/* No error has this number: a successful call leaves it in errno. */
#define NO_ERROR 12345

static void *symbol;     /* the function under test, under the name the harness asked for */
static const char *dir;  /* absolute path of the scene */
static bool keep;        /* steps build on each other: do not put the scene back */
static char **arguments; /* of main */
static void (*also)(void); /* what a program has to add to a step's line */

static void die(const char *what)
{
	printf("the program itself failed: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(99);
}

/* Whether there is time for many repetitions: not in the virtual machine, whose scenes are on its
 * own filesystem, nor where every call is measured for a report. */
static bool UNUSED runs_fast(void)
{
	return !strncmp(dir, "/dev/shm/", 9) && !getenv("DAXSHIM_REPORT");
}

#endif
