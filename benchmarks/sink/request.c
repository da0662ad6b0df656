#define _GNU_SOURCE
#include "request.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    MAX_HEAD = 64 * 1024,        /* bytes */
    MAX_BODY = 64 * 1024 * 1024, /* bytes */
};

#define START_LINE "%7[A-Z] %31[^ \r\n] %11[^ \r\n]%n"
#define CBOR_TYPE "application/x-amz-cbor-1.1"
#define END_OF_HEAD "\r\n\r\n"

/* The value of a header, or NULL; *n_found says how often it is there. */
static const char *header(const char *head, const char *name, int *n_found)
{
    const char *value = NULL;
    size_t n = strlen(name);

    *n_found = 0;
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            value = line + n + 1 + strspn(line + n + 1, " \t");
            ++*n_found;
        }
    }
    return value;
}

static bool read_length(const char *head, bool is_needed, size_t *length)
{
    int n_found, n_encodings;
    const char *text = header(head, "Content-Length", &n_found);
    char *end;

    header(head, "Transfer-Encoding", &n_encodings);
    *length = 0;
    if (n_encodings || n_found > 1)
        return false;
    if (n_found == 0)
        return !is_needed;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    *length = strtoul(text, &end, 10);
    return errno == 0 && *length <= MAX_BODY && *end == '\r';
}

/* `head` ends in NUL after its last "\r\n". */
static bool parse_head(const char *head, struct request *request)
{
    char method[8], version[12];
    int n_found, n_read = 0;
    const char *connection = header(head, "Connection", &n_found);
    const char *type = header(head, "Content-Type", &n_found);

    if (sscanf(head, START_LINE, method, request->path, version, &n_read) != 3
        || strncmp(head + n_read, "\r\n", 2) != 0 || strcmp(version, "HTTP/1.1") != 0)
        return false;
    request->is_post = strcmp(method, "POST") == 0;
    request->is_last = connection && strncasecmp(connection, "close", 5) == 0;
    request->is_cbor = type && strncmp(type, CBOR_TYPE "\r", sizeof CBOR_TYPE) == 0;
    if (!request->is_post && strcmp(method, "GET") != 0)
        return false;
    header(head, "Host", &n_found);
    return n_found == 1 && read_length(head, request->is_post, &request->body_bytes);
}

static bool find_head(struct connection *connection, size_t *n)
{
    const char *end;

    while (!(end = memmem(connection->buffer, connection->filled, END_OF_HEAD, 4))) {
        if (connection->filled > MAX_HEAD || !connection_fill(connection, connection->filled + 1))
            return false;
    }
    *n = (size_t)(end - connection->buffer) + 4;
    return true;
}

enum found request_read(struct connection *connection, struct request *request)
{
    size_t n;

    if (!find_head(connection, &request->head_bytes))
        return connection->filled == 0 ? FOUND_END : FOUND_MALFORMED;
    n = request->head_bytes;
    connection->buffer[n - 2] = '\0';
    if (strlen(connection->buffer) != n - 2 || !parse_head(connection->buffer, request))
        return FOUND_MALFORMED;
    if (!connection_fill(connection, n + request->body_bytes))
        return FOUND_MALFORMED;
    request->body = connection->buffer + n;
    return FOUND_REQUEST;
}
