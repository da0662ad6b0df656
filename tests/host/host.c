/*
 * Uses an output plugin like Fluent Bit does. Reads commands from standard input, with fields
 * separated by tabs, and replies to each with one line:
 *
 *   load PATH            dlopen
 *   register             prints what the plugin filled in
 *   fork                 continues in a child process, after the parent has called exit()
 *   engine               continues in a new thread, like Fluent Bit's pipeline, until `stop`
 *   stop
 *   init NAME KEY=VALUE...
 *   flush NAME TAG FILE TIMES          on this thread; prints the results and the stack usage
 *   start THREAD NAME TAG FILE TIMES   starts the same on another thread
 *   join THREAD                        waits for that thread and prints its results
 *   exit NAME
 *   unload               dlclose
 *   quit                 exit() from this thread; also at the end of the input
 *
 * With the argument --reap, a parent process waits for all descendants and returns their status.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "chunk.h"
#include "coroutine.h"
#include "plugin.h"

enum { MAX_FIELDS = MAX_OPTIONS + 4, MAX_THREADS = 64 };
enum { N_CODES = 3, SIGNAL_STATUS = 128, ERROR_STATUS = 3 };

struct batch {
    struct instance *instance;
    char *tag, *path;
    int times;
    int codes[N_CODES + 1]; /* how often 0, 1, 2 and anything else came back */
    size_t stack;
};

struct call {
    struct instance *instance;
    struct chunk chunk;
    int code;
};

static struct instance *instances;
static struct batch batches[MAX_THREADS];
static pthread_t threads[MAX_THREADS];

static void fail(const char *what, const char *which)
{
    fprintf(stderr, "host: %s: %s\n", what, which);
    _exit(ERROR_STATUS);
}

static struct instance *find_instance(const char *name)
{
    struct instance *instance = instances;

    while (instance && strcmp(instance->name, name) != 0)
        instance = instance->next;
    if (instance == NULL)
        fail("no such instance", name);
    return instance;
}

static void *copy(const void *data, size_t n)
{
    void *made = malloc(n);

    if (made == NULL)
        fail("out of memory", "");
    return memcpy(made, data, n);
}

static struct instance *make_instance(char **fields)
{
    struct instance *instance = copy(&(struct instance){.next = instances}, sizeof *instance);

    snprintf(instance->name, sizeof instance->name, "%s", fields[0]);
    for (int i = 0; fields[i + 1]; i++)
        instance->options[i] = copy(fields[i + 1], strlen(fields[i + 1]) + 1);
    return instances = instance;
}

static void flush_on_coroutine(void *argument)
{
    struct call *call = argument;

    call->code = plugin_flush(call->instance, call->chunk.data, call->chunk.n, call->chunk.tag);
}

static void *run_batch(void *argument)
{
    struct batch *batch = argument;
    struct call call = {.instance = batch->instance};
    size_t stack;

    for (int i = 0; i < batch->times; i++) {
        if (!chunk_open(&call.chunk, batch->path, batch->tag))
            fail("no chunk", batch->path);
        stack = run_on_coroutine(flush_on_coroutine, &call);
        chunk_vanish(&call.chunk);
        batch->stack = stack > batch->stack ? stack : batch->stack;
        batch->codes[call.code >= 0 && call.code < N_CODES ? call.code : N_CODES]++;
    }
    return NULL;
}

static struct batch make_batch(char **fields)
{
    return (struct batch){.instance = find_instance(fields[0]),
                          .tag = copy(fields[1], strlen(fields[1]) + 1),
                          .path = copy(fields[2], strlen(fields[2]) + 1),
                          .times = atoi(fields[3])};
}

static void print_batch(struct batch *batch)
{
    printf("error=%d ok=%d retry=%d other=%d stack=%zu\n", batch->codes[0], batch->codes[1],
           batch->codes[2], batch->codes[N_CODES], batch->stack);
    free(batch->tag);
    free(batch->path);
}

static int thread_number(const char *text)
{
    int number = atoi(text);

    if (number < 0 || number >= MAX_THREADS)
        fail("no such thread", text);
    return number;
}

static void start_batch(char **fields)
{
    int number = thread_number(fields[0]);

    batches[number] = make_batch(fields + 1);
    if (pthread_create(&threads[number], NULL, run_batch, &batches[number]) != 0)
        fail("no thread", fields[0]);
    puts("started");
}

/* Like `fluent-bit -d`: the parent's destructors run before the child continues, and the next file
 * that is opened, here the one at `path`, gets the descriptor of standard error. */
static void become_daemon(const char *path)
{
    const pid_t parent = getpid();
    const struct timespec pause = {.tv_nsec = 1000000};
    pid_t child = fork();

    if (child < 0)
        fail("no child", "");
    if (child > 0)
        exit(0);
    while (getppid() == parent)
        nanosleep(&pause, NULL);
    close(STDERR_FILENO);
    if (open(path, O_WRONLY | O_CREAT, 0600) != STDERR_FILENO)
        fail("no file in the place of standard error", path);
    printf("%d\n", (int)getpid());
}

static void print_registered(void)
{
    struct registered is;

    if (plugin_register(&is))
        printf("name=%s type=%d proxy=%d flags=%d event_type=%d\n", is.name, is.type, is.proxy,
               is.flags, is.event_type);
    else
        puts("refused");
}

static void run_commands(void);

static void *be_engine(void *unused)
{
    (void)unused;
    puts("started");
    run_commands();
    return NULL;
}

static void run_engine(void)
{
    pthread_t engine;

    if (pthread_create(&engine, NULL, be_engine, NULL) != 0)
        fail("no thread", "engine");
    pthread_join(engine, NULL);
    puts("stopped");
}

static void run_command(const char *command, char **fields)
{
    if (strcmp(command, "load") == 0) {
        puts(plugin_load(fields[0]) ? "loaded" : "refused");
    } else if (strcmp(command, "unload") == 0) {
        puts(plugin_unload() ? "unloaded" : "refused");
    } else if (strcmp(command, "register") == 0) {
        print_registered();
    } else if (strcmp(command, "fork") == 0) {
        become_daemon(fields[0]);
    } else if (strcmp(command, "engine") == 0) {
        run_engine();
    } else if (strcmp(command, "init") == 0) {
        printf("%d\n", plugin_init(make_instance(fields)));
    } else if (strcmp(command, "exit") == 0) {
        printf("%d\n", plugin_exit(find_instance(fields[0])));
    } else if (strcmp(command, "flush") == 0) {
        struct batch batch = make_batch(fields);

        run_batch(&batch);
        print_batch(&batch);
    } else if (strcmp(command, "start") == 0) {
        start_batch(fields);
    } else if (strcmp(command, "join") == 0) {
        int number = thread_number(fields[0]);

        pthread_join(threads[number], NULL);
        print_batch(&batches[number]);
    } else {
        fail("no such command", command);
    }
}

static void split(char *line, char *fields[MAX_FIELDS + 1])
{
    int n = 0;

    line[strcspn(line, "\n")] = '\0';
    while (n < MAX_FIELDS && (fields[n] = strsep(&line, "\t")) != NULL)
        n++;
    fields[n] = NULL;
}

static void run_commands(void)
{
    char *line = NULL, *fields[MAX_FIELDS + 1];
    size_t size = 0;

    while (getline(&line, &size, stdin) >= 0) {
        split(line, fields);
        if (strcmp(fields[0], "stop") == 0) {
            free(line);
            return;
        }
        if (strcmp(fields[0], "quit") == 0)
            break;
        run_command(fields[0], fields + 1);
    }
    exit(0);
}

static int reap_all(void)
{
    int status, worst = 0;

    while (wait(&status) > 0)
        if (status != 0)
            worst = WIFSIGNALED(status) ? SIGNAL_STATUS + WTERMSIG(status) : WEXITSTATUS(status);
    return worst;
}

static void ignore_signal(int number)
{
    (void)number;
}

/* Handles the signals that Fluent Bit handles, except those of a crash. */
static void take_signals(void)
{
    const int mine[] = {SIGHUP, SIGINT, SIGQUIT, SIGCONT, SIGTERM};

    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        signal(mine[i], ignore_signal);
    signal(SIGPIPE, SIG_IGN);
}

/* Gives running threads time to crash on what earlier exit handlers have destroyed. */
static void linger(void)
{
    const struct timespec pause = {.tv_nsec = 50000000};

    nanosleep(&pause, NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--reap") == 0) {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        if (fork() > 0)
            return reap_all();
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    take_signals();
    atexit(linger);
    run_commands();
    return 0;
}
