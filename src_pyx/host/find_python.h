/* Finds the Python interpreter that belongs to this library, and its shared library. */
#ifndef KF_FIND_PYTHON_H
#define KF_FIND_PYTHON_H

#include <limits.h>
#include <stdbool.h>

#include "python.h"

struct kf_python_place {
    char python[PATH_MAX];      /* the interpreter, links not resolved */
    char libpython[PATH_MAX];   /* its shared library; empty if no option names it */
    char packages[PATH_MAX];    /* the directory that holds the package kinesis_fast */
};

/* Fills in `place` as far as it takes no search; returns false after logging an error. */
bool kf_find_python(const struct kf_python_options *options, struct kf_python_place *place);

/* Looks for the shared library where it usually is, and says which minor version it should be. Logs
 * nothing; false if there is none. */
bool kf_guess_libpython(struct kf_python_place *place, int *minor);

/* Asks the interpreter, which takes a child process; returns false after logging an error. */
bool kf_ask_for_libpython(struct kf_python_place *place);

/* Remembers the path of this library. Call it before the host can change its working directory. */
void kf_find_library(void);

/* Finds another copy of this library in the process: Python can serve only one copy. */
bool kf_find_other_copy(char path[PATH_MAX]);

/* Finds the packages directory from the path of this library; returns false after logging an error. */
bool kf_find_packages(char packages[PATH_MAX]);

#endif
