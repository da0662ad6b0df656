/* Where Python is: which interpreter belongs to this library, and what it says of itself. */
#ifndef KF_FIND_PYTHON_H
#define KF_FIND_PYTHON_H

#include <limits.h>
#include <stdbool.h>

#include "python.h"

struct kf_python_place {
    char python[PATH_MAX];      /* the interpreter, links not resolved; empty if not known */
    char libpython[PATH_MAX];   /* its shared library */
    char packages[PATH_MAX];    /* the directory that holds the package kinesis_fast */
};

/* False: an error line was logged. */
bool kf_find_python(const struct kf_python_options *options, struct kf_python_place *place);

/* Notes where this library lies; before the host may change its working directory. */
void kf_find_library(void);

/* Another copy of this library in the process, which has Python for itself. */
bool kf_find_other_copy(char path[PATH_MAX]);

/* Only `packages`, from where this library lies. */
bool kf_find_packages(char packages[PATH_MAX]);

#endif
