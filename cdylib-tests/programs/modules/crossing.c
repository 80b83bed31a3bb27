/* The places lie across aligned words: they can't be turned while other threads may run there. */
#include "inline.h"

INLINE(own_munmap, 6, 11, PLAINLY);
INLINE(own_mprotect, 5, 10, PLAINLY);
