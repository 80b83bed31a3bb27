/* A module that makes system calls of its own, all of a form that can be turned at any time. */
#include "inline.h"

INLINE(own_munmap, 0, 11, PLAINLY);
INLINE(own_mprotect, 3, 10, PLAINLY);
