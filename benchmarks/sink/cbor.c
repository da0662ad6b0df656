#include "cbor.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP };
enum { MAX_DEPTH = 8, FIRST_LONG = 24, LAST_LONG = 27 };

#define ENTRIES_KEY "Records"

struct head {
    unsigned major;
    uint64_t number;
};

static bool read_head(const unsigned char **at, const unsigned char *end, struct head *head)
{
    unsigned info, n;

    if (*at == end)
        return false;
    head->major = **at >> 5;
    info = *(*at)++ & 31;
    head->number = info;
    if (info < FIRST_LONG)
        return true;
    n = 1u << (info - FIRST_LONG);
    if (info > LAST_LONG || (size_t)(end - *at) < n)
        return false;
    for (head->number = 0; n; n--)
        head->number = head->number << 8 | *(*at)++;
    return true;
}

/* Goes to the end of an item. */
static bool skip(const unsigned char **at, const unsigned char *end, int depth)
{
    struct head head;
    uint64_t n_items;

    if (depth > MAX_DEPTH || !read_head(at, end, &head))
        return false;
    if (head.major == BYTES || head.major == TEXT) {
        if (head.number > (size_t)(end - *at))
            return false;
        *at += head.number;
        return true;
    }
    if (head.major > MAP)
        return false;
    n_items = head.major == ARRAY ? head.number : head.major == MAP ? 2 * head.number : 0;
    for (; n_items; n_items--)
        if (!skip(at, end, depth + 1))
            return false;
    return true;
}

size_t cbor_count_entries(const char *body, size_t n)
{
    const size_t key_n = strlen(ENTRIES_KEY);
    const unsigned char *at = (const unsigned char *)body, *end = at + n;
    size_t n_entries = 0;
    struct head map;

    if (!read_head(&at, end, &map) || map.major != MAP)
        return 0;
    for (; map.number; map.number--) {
        const unsigned char *key = at, *value;
        struct head entries;

        if (!skip(&at, end, 0))
            return 0;
        value = at;
        if ((size_t)(value - key) == key_n + 1 && *key == (TEXT << 5 | key_n)
            && memcmp(key + 1, ENTRIES_KEY, key_n) == 0) {
            if (!read_head(&value, end, &entries) || entries.major != ARRAY)
                return 0;
            n_entries = entries.number;
        }
        if (!skip(&at, end, 0))
            return 0;
    }
    return at == end ? n_entries : 0;
}
