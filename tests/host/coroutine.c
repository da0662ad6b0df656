#include "coroutine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAINT = 0xa5 };

struct call {
    void (*function)(void *);
    void *argument;
    ucontext_t caller, callee;
};

static _Thread_local struct call *current;

static void enter(void)
{
    current->function(current->argument);
}

/* The stack grows down, so the lowest address without the paint was the deepest one in use. */
static size_t used_bytes(const unsigned char *stack)
{
    size_t untouched = 0;

    while (untouched < COROUTINE_STACK_BYTES && stack[untouched] == PAINT)
        untouched++;
    return COROUTINE_STACK_BYTES - untouched;
}

size_t run_on_coroutine(void (*function)(void *), void *argument)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct call call = {.function = function, .argument = argument};
    unsigned char *mapping, *stack;
    size_t used;

    mapping = mmap(NULL, page + COROUTINE_STACK_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED || mprotect(mapping, page, PROT_NONE) != 0) {
        perror("host: no memory for a stack");
        abort();
    }
    stack = mapping + page;
    memset(stack, PAINT, COROUTINE_STACK_BYTES);
    getcontext(&call.callee);
    call.callee.uc_stack.ss_sp = stack;
    call.callee.uc_stack.ss_size = COROUTINE_STACK_BYTES;
    call.callee.uc_link = &call.caller;
    makecontext(&call.callee, enter, 0);
    current = &call;
    swapcontext(&call.caller, &call.callee);
    used = used_bytes(stack);
    munmap(mapping, page + COROUTINE_STACK_BYTES);
    return used;
}
