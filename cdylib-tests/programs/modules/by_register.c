/* What it calls is not said where it calls. */
#include "inline.h"

INLINE(own_munmap, 0, 11, BY_REGISTER);
INLINE(own_mprotect, 0, 10, BY_REGISTER);
