/* The bytes of one client, plain or TLS. */

#ifndef CONNECTION_H
#define CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#ifdef SINK_TLS
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

/* What was read lies in `buffer`, `filled` bytes of `size`; `answer` is where answers are made. */
struct connection {
    int fd;
    SSL *ssl;
    FILE *kept;
    char *buffer, *answer;
    size_t size, filled;
};

/* Writes what went wrong to stderr and ends the process. */
void fail(const char *what);

/* Makes all connections TLS; PEM files. */
void connection_use_tls(const char *certificate, const char *key);

/* Takes an accepted socket over; NULL when there can be no TLS with that client. */
struct connection *connection_open(int fd);

void connection_close(struct connection *connection);

/* Reads until the buffer holds `n` bytes, or more; false at the end of the stream. */
bool connection_fill(struct connection *connection, size_t n);

/* Takes the first `n` bytes out of the buffer. */
void connection_drop(struct connection *connection, size_t n);

/* Sends the first `n` bytes of `answer`. */
bool connection_send(struct connection *connection, size_t n);

#endif
