/* Python in a process that is not linked to it: opened and started once, never finalized. */
#ifndef KF_PYTHON_H
#define KF_PYTHON_H

#include <stdbool.h>
#include <stddef.h>

/* The paths in the host's configuration; NULL if not set. */
struct kf_python_options {
    const char *python;     /* path of an interpreter */
    const char *libpython;  /* path of its shared library */
};

/* Starts Python, or joins the one that already runs in the process, and imports
 * kinesis_fast.host.entry. Call each function of this file from within its own job. Returns false
 * after logging an error; a later call tries again. */
bool kf_python_start(const struct kf_python_options *options);

/* Returns the names of all options with a NULL at the end, or NULL after an error. The array lives
 * as long as the process. */
const char *const *kf_python_option_names(void);

/* Calls kinesis_fast.host.entry.init; values[i] belongs to the i-th option name and is NULL if the
 * option is absent. Returns a handle > 0, or 0 after logging an error. */
long kf_python_init(const char *const *values);

/* Call kinesis_fast.host.entry.flush and exit; return Fluent Bit's codes. */
int kf_python_flush(long handle, const void *data, size_t n, const char *tag);
int kf_python_exit(long handle);

#endif
