/* Calls a function on a stack of the size of Fluent Bit's coroutines, but with a guard page. */
#ifndef COROUTINE_H
#define COROUTINE_H

#include <stddef.h>

enum { COROUTINE_STACK_BYTES = 64 * 1024 };

/* Calls function(argument) and returns how many bytes of the stack it used. An overflow ends the
 * process. */
size_t run_on_coroutine(void (*function)(void *), void *argument);

#endif
