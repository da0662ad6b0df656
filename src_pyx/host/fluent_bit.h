/*
 * The interface of Fluent Bit's plugin proxy, as of 5.1.
 * Source: fluent-bit src/flb_plugin_proxy.c, include/fluent-bit/flb_api.h, flb_plugin_proxy.h.
 */
#ifndef KF_FLUENT_BIT_H
#define KF_FLUENT_BIT_H

#include <stddef.h>

enum { FLB_ERROR = 0, FLB_OK = 1, FLB_RETRY = 2 };
enum { FLB_PROXY_OUTPUT = 2, FLB_PROXY_GO = 11, FLB_EVENT_LOGS = 0 };

/* Filled in by FLBPluginRegister; the host frees name and description. */
struct flb_definition {
    int type;
    int proxy;
    int flags;
    char *name;
    char *description;
    int event_type;
    void *config_map;
};

/* The start of the host's table of functions; the plugin does not use the rest. */
struct flb_api {
    const char *(*output_get_property)(const char *key, void *instance);
};

struct flb_context {
    void *remote_context;
};

struct flb_plugin {
    char *name;
    struct flb_api *api;
    void *output_instance;
    struct flb_context *context;
};

#endif
