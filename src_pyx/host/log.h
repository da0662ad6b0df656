/*
 * Lines in Fluent Bit's layout on what was standard error when the library was registered. A host
 * that becomes a daemon closes it, and the number 2 then belongs to something else.
 */
#ifndef KF_LOG_H
#define KF_LOG_H

/* Keeps hold of standard error as it is now; a second call does nothing. */
void kf_log_open(void);

/* The file descriptor that lines go to. */
int kf_log_descriptor(void);

__attribute__((format(printf, 1, 2))) void kf_log_error(const char *format, ...);

#endif
