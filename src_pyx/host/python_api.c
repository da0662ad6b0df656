#define _GNU_SOURCE
#include "python_api.h"

#include <dlfcn.h>
#include <string.h>

struct kf_python_api kf_py;

/* memcpy turns a data pointer into a function pointer, which POSIX allows and ISO C does not. */
static bool load(void *library, const char *name, void *target)
{
    void *symbol = dlsym(library, name);

    memcpy(target, &symbol, sizeof symbol);
    return symbol != NULL;
}

const char *kf_python_api_load(void *library)
{
#define KF_LOAD(result, name, arguments)             \
    if (!load(library, #name, &kf_py.name))          \
        return #name;
    KF_PYTHON_FUNCTIONS(KF_LOAD)
#undef KF_LOAD
    return NULL;
}
