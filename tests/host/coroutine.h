/* A call on a stack as Fluent Bit's coroutines have it, but with a guarded page below. */
#ifndef COROUTINE_H
#define COROUTINE_H

#include <stddef.h>

enum { COROUTINE_STACK_BYTES = 64 * 1024 };

/* Calls function(argument); a stack that overflows ends the process. Returns how many bytes of it
 * were used. */
size_t run_on_coroutine(void (*function)(void *), void *argument);

#endif
