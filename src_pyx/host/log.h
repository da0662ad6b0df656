/*
 * Writes lines in Fluent Bit's layout to a duplicate of standard error, made at registration. A host
 * that becomes a daemon closes descriptor 2, which another file may then get.
 */
#ifndef KF_LOG_H
#define KF_LOG_H

/* Duplicates the current standard error; a second call does nothing. */
void kf_log_open(void);

/* The file descriptor for log lines. */
int kf_log_descriptor(void);

__attribute__((format(printf, 1, 2))) void kf_log_error(const char *format, ...);

#endif
