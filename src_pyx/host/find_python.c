#define _GNU_SOURCE
#include "find_python.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

#define LIBRARY_NAME "out_kinesis.so"
#define ANSWER_MAX 4096
#define ENVIRONMENT_VARIABLE "KINESIS_FAST_PYTHON"
#define ANSWER_PREFIX "libpython="

extern char **environ;

static const char anchor; /* its address tells where this library lies */

static bool cut_last_part(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL || slash == path)
        return false;
    *slash = '\0';
    return true;
}

static char own_path[PATH_MAX];

void kf_find_library(void)
{
    Dl_info info;

    if (own_path[0] == '\0' && dladdr(&anchor, &info) != 0
        && realpath(info.dli_fname, own_path) == NULL)
        own_path[0] = '\0';
}

/* This library is PACKAGES/kinesis_fast/host/out_kinesis.so. */
bool kf_find_packages(char packages[PATH_MAX])
{
    strcpy(packages, own_path);
    if (cut_last_part(packages) && cut_last_part(packages) && cut_last_part(packages))
        return true;
    kf_log_error("the library of the plugin does not find itself in the file system");
    return false;
}

/* A copy has another path; it may have been opened by a relative one. */
static int look_at_object(struct dl_phdr_info *object, size_t size, void *found)
{
    static const char name[] = "/" LIBRARY_NAME;
    char path[PATH_MAX];
    size_t n;

    (void)size;
    if (realpath(object->dlpi_name, path) == NULL)
        return 0;
    n = strlen(path);
    if (n < sizeof name || strcmp(path + n - (sizeof name - 1), name) != 0
        || strcmp(path, own_path) == 0)
        return 0;
    strcpy(found, path);
    return 1;
}

bool kf_find_other_copy(char path[PATH_MAX])
{
    return dl_iterate_phdr(look_at_object, path) != 0;
}

static bool is_set(const char *text)
{
    return text != NULL && *text != '\0';
}

/* The nearest bin/python3 above the packages. A link there stays one: it leads out of the virtual
 * environment. */
static bool find_interpreter_above(const char *packages, char python[PATH_MAX])
{
    char directory[PATH_MAX];

    strcpy(directory, packages);
    do {
        if (snprintf(python, PATH_MAX, "%s/bin/python3", directory) < PATH_MAX
            && access(python, X_OK) == 0)
            return true;
    } while (cut_last_part(directory));
    kf_log_error("no bin/python3 above %s; name the interpreter with the option python or with the "
                 "variable " ENVIRONMENT_VARIABLE, packages);
    return false;
}

static bool find_interpreter(const struct kf_python_options *options,
                             struct kf_python_place *place)
{
    const char *named = is_set(options->python) ? options->python : getenv(ENVIRONMENT_VARIABLE);

    if (!is_set(named))
        return find_interpreter_above(place->packages, place->python);
    if (strlen(named) >= PATH_MAX || access(named, X_OK) != 0) {
        kf_log_error("the interpreter %s, named with the option python or with the variable "
                     ENVIRONMENT_VARIABLE ", cannot be run", named);
        return false;
    }
    strcpy(place->python, named);
    return true;
}

/* Starts `python script` with its output and its errors going into the pipe. */
static bool spawn(const char *python, const char *script, int output, pid_t *child)
{
    char *const arguments[] = {(char *)python, (char *)script, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    bool started;

    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    started = posix_spawn(child, python, &actions, &attributes, arguments, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return started;
}

/* What is more than fits is read and thrown away, so that the child does not block. */
static void read_all(int input, char answer[ANSWER_MAX])
{
    char rest[ANSWER_MAX];
    size_t n = 0;
    ssize_t got;

    do {
        got = n < ANSWER_MAX - 1 ? read(input, answer + n, ANSWER_MAX - 1 - n)
                                 : read(input, rest, sizeof rest);
        if (got > 0 && n < ANSWER_MAX - 1)
            n += (size_t)got;
    } while (got > 0);
    answer[n] = '\0';
}

static bool ask(const char *python, const char *script, char answer[ANSWER_MAX])
{
    int ends[2];
    pid_t child;
    int status;
    bool started;

    answer[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    started = spawn(python, script, ends[1], &child);
    close(ends[1]);
    if (started)
        read_all(ends[0], answer);
    close(ends[0]);
    if (!started)
        return false;
    /* Where SIGCHLD is ignored the child leaves no status behind; its answer has to do. */
    return waitpid(child, &status, 0) != child
           || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static const char *last_line(char *text)
{
    char *end = text + strlen(text);

    while (end > text && end[-1] == '\n')
        *--end = '\0';
    return strrchr(text, '\n') ? strrchr(text, '\n') + 1 : text;
}

/* The script answers with the line "libpython=PATH", or with an error in its last line. */
static bool ask_for_libpython(struct kf_python_place *place)
{
    char script[PATH_MAX], answer[ANSWER_MAX];
    const char *line;
    bool succeeded;

    if (snprintf(script, sizeof script, "%s/kinesis_fast/host/locate.py", place->packages)
        >= (int)sizeof script)
        return false;
    succeeded = ask(place->python, script, answer);
    line = last_line(answer);
    if (!succeeded || strncmp(line, ANSWER_PREFIX, strlen(ANSWER_PREFIX)) != 0) {
        kf_log_error("%s: %s", place->python, *line ? line : "the interpreter does not start");
        return false;
    }
    strcpy(place->libpython, line + strlen(ANSWER_PREFIX));
    return true;
}

bool kf_find_python(const struct kf_python_options *options, struct kf_python_place *place)
{
    if (!kf_find_packages(place->packages) || !find_interpreter(options, place))
        return false;
    if (!is_set(options->libpython))
        return ask_for_libpython(place);
    if (strlen(options->libpython) >= PATH_MAX) {
        kf_log_error("the option libpython is no path: it is too long");
        return false;
    }
    strcpy(place->libpython, options->libpython);
    return true;
}
