/* A chunk and its tag in memory that becomes inaccessible after the flush. */
#ifndef CHUNK_H
#define CHUNK_H

#include <stdbool.h>
#include <stddef.h>

struct chunk {
    const char *tag;
    const char *data;   /* ends directly before an inaccessible page */
    size_t n;
    void *mapping;
    size_t n_mapped;
};

/* Reads a file into read-only memory. Returns false after a message on stderr. */
bool chunk_open(struct chunk *chunk, const char *path, const char *tag);

/* From now on any access to the chunk or its tag ends the process; the addresses stay reserved. */
void chunk_vanish(struct chunk *chunk);

#endif
