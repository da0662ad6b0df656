/* Bodies of PutRecords in CBOR, as far as a sink has to understand them. */

#ifndef CBOR_H
#define CBOR_H

#include <stddef.h>

/* How many entries a body has; 0 if it is not a map of definite length with an array `Records`. */
size_t cbor_count_entries(const char *body, size_t n);

#endif
