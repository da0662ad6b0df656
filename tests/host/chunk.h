/* A chunk and its tag in memory that is taken away after the flush. */
#ifndef CHUNK_H
#define CHUNK_H

#include <stdbool.h>
#include <stddef.h>

struct chunk {
    const char *tag;
    const char *data;   /* its end touches a page that may not be read */
    size_t n;
    void *mapping;
    size_t n_mapped;
};

/* Reads a file; the memory cannot be written afterwards. False: a line on stderr says why. */
bool chunk_open(struct chunk *chunk, const char *path, const char *tag);

/* From now on whoever touches the chunk or its tag ends the process; the addresses stay taken. */
void chunk_vanish(struct chunk *chunk);

#endif
