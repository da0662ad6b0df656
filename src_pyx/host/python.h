/* Python in a process that was not linked to it: found, opened, started once and never ended. */
#ifndef KF_PYTHON_H
#define KF_PYTHON_H

#include <stdbool.h>
#include <stddef.h>

/* What the host's configuration says about where Python is; NULL: nothing. */
struct kf_python_options {
    const char *python;     /* path of an interpreter */
    const char *libpython;  /* path of its shared library */
};

/* Starts Python, or takes the one that runs in the process already, and imports
 * kinesis_fast.host.entry. To be called from within a job of its own, as all of these are. False: an
 * error line was logged; a later call tries again. */
bool kf_python_start(const struct kf_python_options *options);

/* The names of all options, NULL at the end; NULL if there was an error. Lives as long as the
 * process. */
const char *const *kf_python_option_names(void);

/* kinesis_fast.host.entry.init; values[i] belongs to the i-th option name, NULL: absent.
 * Returns a handle > 0, or 0 after an error line. */
long kf_python_init(const char *const *values);

/* kinesis_fast.host.entry.flush and exit. They return Fluent Bit's codes. */
int kf_python_flush(long handle, const void *data, size_t n, const char *tag);
int kf_python_exit(long handle);

#endif
