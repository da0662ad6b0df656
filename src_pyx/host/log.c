#define _GNU_SOURCE
#include "log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int descriptor = -1;

void kf_log_open(void)
{
    if (descriptor < 0)
        descriptor = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

int kf_log_descriptor(void)
{
    return descriptor < 0 ? STDERR_FILENO : descriptor;
}

/* Error texts from other sources may contain control characters; the log entry must stay one line. */
static void escape_controls(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
}

void kf_log_error(const char *format, ...)
{
    char line[2048];
    struct timespec now;
    struct tm local;
    size_t n;
    va_list arguments;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    n = strftime(line, sizeof line, "[%Y/%m/%d %H:%M:%S.", &local);
    n += (size_t)snprintf(line + n, sizeof line - n, "%03ld] [error] [kinesis] ",
                          now.tv_nsec / 1000000);
    va_start(arguments, format);
    vsnprintf(line + n, sizeof line - n - 1, format, arguments);
    va_end(arguments);
    escape_controls(line);
    n = strlen(line);
    line[n] = '\n';
    (void)!write(kf_log_descriptor(), line, n + 1);
}
