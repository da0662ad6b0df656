#include "plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_LOADED = 16 };

struct definition {
    int type;
    int proxy;
    int flags;
    char *name;
    char *description;
    int event_type;
    void *config_map;
};

/* Fluent Bit defines the order. The plugin may call only the first function. */
struct api {
    const char *(*output_get_property)(const char *key, void *instance);
    void *input_get_property;
    void *output_get_cmt_instance;
    void *input_get_cmt_instance;
    void *log_print;
    void *input_log_check;
    void *output_log_check;
    void *custom_get_property;
    void *custom_log_check;
};

struct plugin {
    const char *name;
    struct api *api;
    void *output_instance;
    void *context;
};

static struct {
    int (*FLBPluginPreRegister)(int);
    int (*FLBPluginRegister)(struct definition *);
    int (*FLBPluginInit)(struct plugin *);
    int (*FLBPluginOutputPreRun)(int);
    int (*FLBPluginFlushCtx)(void *, const void *, size_t, const char *);
    int (*FLBPluginOutputPreExit)(int);
    int (*FLBPluginExitCtx)(void *);
    void (*FLBPluginUnregister)(struct definition *);
} symbols;

static void *loaded[MAX_LOADED];
static int n_loaded;

static bool find(void *library, const char *name, bool required, void *target)
{
    void *symbol = dlsym(library, name);

    memcpy(target, &symbol, sizeof symbol);
    if (symbol == NULL && required)
        fprintf(stderr, "host: %s\n", dlerror());
    return symbol != NULL || !required;
}

bool plugin_load(const char *path)
{
    void *library = n_loaded < MAX_LOADED ? dlopen(path, RTLD_LAZY) : NULL;

    if (library == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        return false;
    }
    loaded[n_loaded++] = library;
#define FIND(name, required) find(library, #name, required, &symbols.name)
    return FIND(FLBPluginPreRegister, false) && FIND(FLBPluginRegister, true)
           && FIND(FLBPluginInit, true) && FIND(FLBPluginOutputPreRun, false)
           && FIND(FLBPluginFlushCtx, true) && FIND(FLBPluginOutputPreExit, false)
           && FIND(FLBPluginExitCtx, true) && FIND(FLBPluginUnregister, false);
#undef FIND
}

bool plugin_unload(void)
{
    void *oldest = loaded[0];

    if (n_loaded == 0)
        return false;
    memmove(loaded, loaded + 1, (size_t)--n_loaded * sizeof *loaded);
    return dlclose(oldest) == 0;
}

/* The host frees what the plugin allocated. */
bool plugin_register(struct registered *result)
{
    struct definition definition;

    memset(&definition, 0xff, sizeof definition);
    definition.name = definition.description = NULL;
    if (symbols.FLBPluginPreRegister && symbols.FLBPluginPreRegister(n_loaded > 1) == -1)
        return false;
    if (symbols.FLBPluginRegister(&definition) == -1 || definition.name == NULL)
        return false;
    result->type = definition.type;
    result->proxy = definition.proxy;
    result->flags = definition.flags;
    result->event_type = definition.event_type;
    snprintf(result->name, sizeof result->name, "%s", definition.name);
    free(definition.name);
    free(definition.description);
    return true;
}

static const char *output_get_property(const char *key, void *output_instance)
{
    const struct instance *instance = output_instance;
    const size_t length = strlen(key);

    for (char *const *option = instance->options; *option; option++)
        if (strncasecmp(*option, key, length) == 0 && (*option)[length] == '=')
            return *option + length + 1;
    return NULL;
}

int plugin_init(struct instance *instance)
{
    static struct api api = {.output_get_property = output_get_property};
    struct plugin plugin = {"kinesis", &api, instance, &instance->context};
    int code = symbols.FLBPluginInit(&plugin);

    if (code > 0 && symbols.FLBPluginOutputPreRun)
        symbols.FLBPluginOutputPreRun(0);
    return code;
}

int plugin_flush(struct instance *instance, const void *data, size_t n, const char *tag)
{
    return symbols.FLBPluginFlushCtx(instance->context.remote_context, data, n, tag);
}

int plugin_exit(struct instance *instance)
{
    if (symbols.FLBPluginOutputPreExit)
        symbols.FLBPluginOutputPreExit(0);
    return symbols.FLBPluginExitCtx(instance->context.remote_context);
}
