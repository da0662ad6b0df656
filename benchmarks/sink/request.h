/* Requests of HTTP/1.1, one after the other, and nothing that is not quite one. */

#ifndef REQUEST_H
#define REQUEST_H

#include "connection.h"

struct request {
    bool is_post, is_last, is_cbor;
    char path[32];
    size_t head_bytes, body_bytes;
    const char *body; /* in the connection's buffer */
};

enum found { FOUND_REQUEST, FOUND_END, FOUND_MALFORMED };

/* Reads the request at the start of the buffer. FOUND_END: the stream ended after the last one;
   FOUND_MALFORMED: it ended within one, or what is there is none, or has no Host or no length. */
enum found request_read(struct connection *connection, struct request *request);

#endif
