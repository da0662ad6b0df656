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
#define OUTPUT_MAX 4096
#define ENVIRONMENT_VARIABLE "KINESIS_FAST_PYTHON"
#define OUTPUT_PREFIX "libpython="
#ifdef __aarch64__
#define MULTIARCH "aarch64-linux-gnu" /* of Debian and Ubuntu */
#else
#define MULTIARCH "x86_64-linux-gnu"
#endif

extern char **environ;

static const char anchor; /* dladdr() finds this library by its address */

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
    kf_log_error("cannot determine the path of the plugin's library");
    return false;
}

/* A copy has a different path. Paths are resolved because the host may use relative ones. */
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

/* Finds the nearest bin/python3 above the packages. Links are not resolved: the target of a link
 * may lie outside the virtual environment. */
static bool find_interpreter_above(const char *packages, char python[PATH_MAX])
{
    char directory[PATH_MAX];

    strcpy(directory, packages);
    do {
        if (snprintf(python, PATH_MAX, "%s/bin/python3", directory) < PATH_MAX
            && access(python, X_OK) == 0)
            return true;
    } while (cut_last_part(directory));
    kf_log_error("no bin/python3 above %s; set the option python or the environment variable "
                 ENVIRONMENT_VARIABLE " to the path of an interpreter", packages);
    return false;
}

static bool find_interpreter(const struct kf_python_options *options,
                             struct kf_python_place *place)
{
    const char *named = is_set(options->python) ? options->python : getenv(ENVIRONMENT_VARIABLE);

    if (!is_set(named))
        return find_interpreter_above(place->packages, place->python);
    if (strlen(named) >= PATH_MAX || access(named, X_OK) != 0) {
        kf_log_error("cannot run the interpreter %s, which the option python or the environment "
                     "variable " ENVIRONMENT_VARIABLE " names", named);
        return false;
    }
    strcpy(place->python, named);
    return true;
}

/* Starts `python script`; its standard output and standard error go to the descriptor `output`. */
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

/* Reads to the end, so that the child does not block, and keeps as much as fits. */
static void read_all(int input, char output[OUTPUT_MAX])
{
    char rest[OUTPUT_MAX];
    size_t n = 0;
    ssize_t got;

    do {
        got = n < OUTPUT_MAX - 1 ? read(input, output + n, OUTPUT_MAX - 1 - n)
                                 : read(input, rest, sizeof rest);
        if (got > 0 && n < OUTPUT_MAX - 1)
            n += (size_t)got;
    } while (got > 0);
    output[n] = '\0';
}

static bool run_script(const char *python, const char *script, char output[OUTPUT_MAX])
{
    int ends[2];
    pid_t child;
    int status;
    bool started;

    output[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    started = spawn(python, script, ends[1], &child);
    close(ends[1]);
    if (started)
        read_all(ends[0], output);
    close(ends[0]);
    if (!started)
        return false;
    /* If the host ignores SIGCHLD there is no exit status; then the output has to suffice. */
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

/* The script's last line is "libpython=PATH" or an error. */
bool kf_ask_for_libpython(struct kf_python_place *place)
{
    char script[PATH_MAX], output[OUTPUT_MAX];
    const char *line;
    bool succeeded;

    if (snprintf(script, sizeof script, "%s/kinesis_fast/host/locate.py", place->packages)
        >= (int)sizeof script)
        return false;
    succeeded = run_script(place->python, script, output);
    line = last_line(output);
    if (!succeeded || strncmp(line, OUTPUT_PREFIX, strlen(OUTPUT_PREFIX)) != 0) {
        kf_log_error("%s: %s", place->python, *line ? line : "cannot start the interpreter");
        return false;
    }
    strcpy(place->libpython, line + strlen(OUTPUT_PREFIX));
    return true;
}

/* Finds prefix and minor version of a Python by the file of its interpreter, such as
 * /usr/bin/python3.11; bin/python3 of a virtual environment is a link to it. Any other name, that of
 * a free-threaded Python or of a script for instance, says nothing. */
static bool find_base(const char *python, char prefix[PATH_MAX], int *minor)
{
    const char *name;
    int end = 0;

    if (realpath(python, prefix) == NULL)
        return false;
    name = strrchr(prefix, '/') + 1;
    return sscanf(name, "python3.%d%n", minor, &end) == 1 && name[end] == '\0'
           && cut_last_part(prefix) && cut_last_part(prefix);
}

bool kf_guess_libpython(struct kf_python_place *place, int *minor)
{
    static const char *const directories[] = {"lib", "lib/" MULTIARCH, "lib64"};
    char prefix[PATH_MAX];

    if (!find_base(place->python, prefix, minor))
        return false;
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
        if (snprintf(place->libpython, PATH_MAX, "%s/%s/libpython3.%d.so.1.0", prefix,
                     directories[i], *minor) < PATH_MAX
            && access(place->libpython, R_OK) == 0)
            return true;
    return false;
}

bool kf_find_python(const struct kf_python_options *options, struct kf_python_place *place)
{
    place->libpython[0] = '\0';
    if (!kf_find_packages(place->packages) || !find_interpreter(options, place))
        return false;
    if (!is_set(options->libpython))
        return true;
    if (strlen(options->libpython) >= PATH_MAX) {
        kf_log_error("the option libpython is too long for a path");
        return false;
    }
    strcpy(place->libpython, options->libpython);
    return true;
}
