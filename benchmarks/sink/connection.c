#include "connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FIRST_BUFFER = 256 * 1024, /* bytes */
    MAX_ANSWER = 64 * 1024,    /* bytes; 500 entries need 55,000 */
};

void fail(const char *what)
{
    fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *allocate(void *old, size_t n)
{
    void *memory = realloc(old, n);

    if (memory == NULL)
        fail("memory");
    return memory;
}

#ifdef SINK_TLS

#include <openssl/err.h>

static SSL_CTX *tls;

void connection_use_tls(const char *certificate, const char *key)
{
    tls = SSL_CTX_new(TLS_server_method());
    if (tls == NULL || SSL_CTX_use_certificate_file(tls, certificate, SSL_FILETYPE_PEM) != 1
        || SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
}

static bool secure(struct connection *connection)
{
    if (tls == NULL)
        return true;
    connection->ssl = SSL_new(tls);
    return connection->ssl && SSL_set_fd(connection->ssl, connection->fd)
           && SSL_accept(connection->ssl) == 1;
}

static ssize_t receive(struct connection *from, char *target, size_t n)
{
    return from->ssl ? SSL_read(from->ssl, target, (int)n) : recv(from->fd, target, n, 0);
}

static ssize_t transmit(struct connection *to, const char *data, size_t n)
{
    return to->ssl ? SSL_write(to->ssl, data, (int)n) : send(to->fd, data, n, MSG_NOSIGNAL);
}

#else

void connection_use_tls(const char *certificate, const char *key)
{
    fprintf(stderr, "sink: --tls %s %s: built without OpenSSL\n", certificate, key);
    exit(1);
}

static bool secure(struct connection *connection)
{
    return connection->ssl == NULL;
}

static ssize_t receive(struct connection *from, char *target, size_t n)
{
    return recv(from->fd, target, n, 0);
}

static ssize_t transmit(struct connection *to, const char *data, size_t n)
{
    return send(to->fd, data, n, MSG_NOSIGNAL);
}

#endif

struct connection *connection_open(int fd)
{
    struct connection *connection = allocate(NULL, sizeof *connection);
    int on = 1;

    memset(connection, 0, sizeof *connection);
    connection->fd = fd;
    connection->size = FIRST_BUFFER;
    connection->buffer = allocate(NULL, FIRST_BUFFER);
    connection->answer = allocate(NULL, MAX_ANSWER);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (secure(connection))
        return connection;
    connection_close(connection);
    return NULL;
}

void connection_close(struct connection *connection)
{
#ifdef SINK_TLS
    SSL_free(connection->ssl);
#endif
    close(connection->fd);
    if (connection->kept)
        fclose(connection->kept);
    free(connection->buffer);
    free(connection->answer);
    free(connection);
}

bool connection_fill(struct connection *connection, size_t n)
{
    if (n > connection->size) {
        connection->buffer = allocate(connection->buffer, n);
        connection->size = n;
    }
    while (connection->filled < n) {
        ssize_t got = receive(connection, connection->buffer + connection->filled,
                              connection->size - connection->filled);

        if (got <= 0)
            return false;
        connection->filled += (size_t)got;
    }
    return true;
}

void connection_drop(struct connection *connection, size_t n)
{
    connection->filled -= n;
    memmove(connection->buffer, connection->buffer + n, connection->filled);
}

bool connection_send(struct connection *connection, size_t n)
{
    for (size_t sent = 0; sent < n;) {
        ssize_t now = transmit(connection, connection->answer + sent, n - sent);

        if (now <= 0)
            return false;
        sent += (size_t)now;
    }
    return true;
}
