#define _GNU_SOURCE
/*
 * The shared library that Fluent Bit opens. It registers the output "kinesis" and forwards each call
 * of the host to kinesis_fast.host.entry.
 *
 * Python never runs on the caller's stack, because Fluent Bit calls flush on a coroutine stack of
 * 64 KiB without a guard page. The caller queues a job and waits for it, which takes a few hundred
 * bytes of stack.
 *
 * The library uses neither Python.h nor libpython at link time, so it works with every Python from
 * 3.11 on: it looks up functions of the stable ABI with dlsym. It does not touch Python before the
 * first Init, because the host may fork between Register and Init. It never finalizes Python,
 * because the host may call Init again.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "find_python.h"
#include "fluent_bit.h"
#include "jobs.h"
#include "log.h"
#include "python.h"

#define EXPORT __attribute__((visibility("default")))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint n_outputs; /* written only under the lock */

struct start_job {
    struct kf_job job;
    struct kf_python_options options;
    bool is_running;
};

struct names_job {
    struct kf_job job;
    const char *const *names;
};

struct init_job {
    struct kf_job job;
    const char *const *values;
    long handle;
};

struct flush_job {
    struct kf_job job;
    long handle;
    const void *data;
    size_t n;
    const char *tag;
    int code;
};

static void start(struct kf_job *job)
{
    struct start_job *self = (struct start_job *)job;

    self->is_running = kf_python_start(&self->options);
}

static void read_names(struct kf_job *job)
{
    struct names_job *self = (struct names_job *)job;

    self->names = kf_python_option_names();
}

static void init(struct kf_job *job)
{
    struct init_job *self = (struct init_job *)job;

    self->handle = kf_python_init(self->values);
}

static void flush(struct kf_job *job)
{
    struct flush_job *self = (struct flush_job *)job;

    self->code = kf_python_flush(self->handle, self->data, self->n, self->tag);
}

static void finish(struct kf_job *job)
{
    struct flush_job *self = (struct flush_job *)job;

    self->code = kf_python_exit(self->handle);
}

static const char *property(const struct flb_plugin *plugin, const char *name)
{
    return plugin->api->output_get_property(name, plugin->output_instance);
}

/* Returns the names of all options, or NULL after logging an error. */
static const char *const *start_python(const struct flb_plugin *plugin)
{
    struct start_job starting = {.job.run = start,
                                 .options = {property(plugin, "python"),
                                             property(plugin, "libpython")}};
    struct names_job reading = {.job.run = read_names};

    if (!kf_run_job(&starting.job)) {
        kf_log_error("cannot start a thread to run Python in");
        return NULL;
    }
    if (starting.is_running)
        kf_run_job(&reading.job);
    return reading.names;
}

/* Returns a handle > 0, or 0 after logging an error. */
static long make_output(const struct flb_plugin *plugin)
{
    const char *const *names = start_python(plugin);
    struct init_job making = {.job.run = init};
    const char **values;
    size_t n = 0;

    while (names && names[n])
        n++;
    values = names ? calloc(n + 1, sizeof *values) : NULL;
    if (values == NULL)
        return 0;
    for (size_t i = 0; i < n; i++)
        values[i] = property(plugin, names[i]);
    making.values = values;
    kf_run_job(&making.job);
    free(values);
    return making.handle;
}

EXPORT int FLBPluginRegister(struct flb_definition *definition)
{
    kf_log_open();
    kf_find_library();
    definition->type = FLB_PROXY_OUTPUT;
    definition->proxy = FLB_PROXY_GO;
    definition->flags = 0;
    definition->name = strdup("kinesis");
    definition->description = strdup("Amazon Kinesis Data Streams, by kinesis_fast");
    definition->event_type = FLB_EVENT_LOGS;
    return definition->name && definition->description ? 0 : -1;
}

/* Without outputs no Python thread may run, because the host may call exit() next. */
static void park_if_idle(void)
{
    if (n_outputs == 0)
        kf_jobs_park();
}

EXPORT int FLBPluginInit(struct flb_plugin *plugin)
{
    long handle;

    pthread_mutex_lock(&lock);
    kf_jobs_release();
    handle = make_output(plugin);
    if (handle > 0)
        n_outputs++;
    park_if_idle();
    pthread_mutex_unlock(&lock);
    if (handle <= 0)
        return FLB_ERROR;
    plugin->context->remote_context = (void *)(intptr_t)handle;
    return FLB_OK;
}

EXPORT int FLBPluginFlushCtx(void *context, const void *data, size_t n, const char *tag)
{
    struct flush_job job = {.job.run = flush,
                            .handle = (long)(intptr_t)context,
                            .data = data,
                            .n = n,
                            .tag = tag,
                            .code = FLB_RETRY};

    if (n_outputs == 0) /* Python is parked */
        return FLB_ERROR;
    kf_run_job(&job.job);
    return job.code;
}

EXPORT int FLBPluginExitCtx(void *context)
{
    struct flush_job job = {.job.run = finish, .handle = (long)(intptr_t)context};

    if (n_outputs == 0)
        return FLB_ERROR;
    kf_run_job(&job.job);
    pthread_mutex_lock(&lock);
    n_outputs -= job.code == FLB_OK;
    park_if_idle();
    pthread_mutex_unlock(&lock);
    return job.code;
}
