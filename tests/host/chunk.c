#include "chunk.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fill(struct chunk *chunk, FILE *file, const char *tag, size_t n)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t readable = (strlen(tag) + 1 + n + page - 1) / page * page;
    char *start;

    chunk->n_mapped = readable + page;
    chunk->mapping = mmap(NULL, chunk->n_mapped, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk->mapping == MAP_FAILED)
        return false;
    start = chunk->mapping;
    strcpy(start, tag);
    chunk->tag = start;
    chunk->data = start + readable - n;
    chunk->n = n;
    return fread(start + readable - n, 1, n, file) == n
           && mprotect(start, readable, PROT_READ) == 0
           && mprotect(start + readable, page, PROT_NONE) == 0;
}

bool chunk_open(struct chunk *chunk, const char *path, const char *tag)
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    bool filled = file && fstat(fileno(file), &status) == 0
                  && fill(chunk, file, tag, (size_t)status.st_size);

    if (!filled)
        perror(path);
    if (file)
        fclose(file);
    return filled;
}

void chunk_vanish(struct chunk *chunk)
{
    mmap(chunk->mapping, chunk->n_mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}
