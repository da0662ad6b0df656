/* One line on standard error in Fluent Bit's layout. */
#ifndef KF_LOG_H
#define KF_LOG_H

__attribute__((format(printf, 1, 2))) void kf_log_error(const char *format, ...);

#endif
