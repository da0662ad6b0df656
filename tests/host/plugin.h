/* A plugin from the view of Fluent Bit 5.1; independent of the headers of the plugin. */
#ifndef PLUGIN_H
#define PLUGIN_H

#include <stdbool.h>
#include <stddef.h>

enum { MAX_OPTIONS = 40 };

/* An [OUTPUT] section. */
struct instance {
    char name[32];
    char *options[MAX_OPTIONS + 1]; /* "key=value" */
    struct {
        void *remote_context;
        void *proxy;
    } context;
    struct instance *next;
};

/* What Register filled in. */
struct registered {
    int type, proxy, flags, event_type;
    char name[64];
};

/* Opens the library, again if it is already open. Returns false after a message on stderr. */
bool plugin_load(const char *path);

/* Closes the library that was opened first. */
bool plugin_unload(void);

bool plugin_register(struct registered *result);
int plugin_init(struct instance *instance);
int plugin_flush(struct instance *instance, const void *data, size_t n, const char *tag);
int plugin_exit(struct instance *instance);

#endif
