#define _GNU_SOURCE
#include "python.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "find_python.h"
#include "fluent_bit.h"
#include "jobs.h"
#include "log.h"
#include "python_api.h"

#define OLDEST_MINOR 11
#define BUFFER_READ 0x100 /* PyBUF_READ */
#define FREE_THREADED "free-threading build" /* in the text of the version */

static bool is_own; /* whether this library has initialized Python */
static kf_object *entry_option_names, *entry_init, *entry_flush, *entry_exit;
static char **option_names;
static bool is_running;

/* Logs the current Python exception as one line that starts with `doing`, and clears it. */
static void log_raised(const char *doing)
{
    kf_object *type, *value, *traceback, *text;
    const char *message = NULL;

    kf_py.PyErr_Fetch(&type, &value, &traceback);
    kf_py.PyErr_NormalizeException(&type, &value, &traceback);
    text = value ? kf_py.PyObject_Str(value) : NULL;
    if (text)
        message = kf_py.PyUnicode_AsUTF8AndSize(text, NULL);
    kf_log_error("%s: %s", doing, message ? message : "Python raised an exception");
    kf_py.PyErr_Clear();
    kf_py.Py_DecRef(text);
    kf_py.Py_DecRef(type);
    kf_py.Py_DecRef(value);
    kf_py.Py_DecRef(traceback);
}

/* Converts the result of a call to a number; if the call failed, logs that and returns `otherwise`. */
static long number_of(kf_object *result, long otherwise, const char *doing)
{
    long number = otherwise;

    if (result)
        number = kf_py.PyLong_AsLong(result);
    kf_py.Py_DecRef(result);
    if (kf_py.PyErr_Occurred()) {
        log_raised(doing);
        return otherwise;
    }
    return number;
}

/* The text of Py_GetVersion() is the only sign of a missing GIL that can be read before Python is
 * initialised. At the end the library parks Python by holding the GIL. */
static bool is_supported(const char *what)
{
    const char *version = kf_py.Py_GetVersion();
    int major = 0, minor = 0;

    if (sscanf(version, "%d.%d", &major, &minor) != 2 || major != 3 || minor < OLDEST_MINOR) {
        kf_log_error("Python %.20s is too old: 3.%d or later is required", version, OLDEST_MINOR);
        return false;
    }
    if (strstr(version, FREE_THREADED) == NULL)
        return true;
    kf_log_error("%s is a free-threaded Python 3.%d, and this library requires one with a GIL: "
                 "libpython3.%d instead of libpython3.%dt", what, minor, minor, minor);
    return false;
}

static bool load_api(void *library, const char *what)
{
    const char *missing = kf_python_api_load(library);

    if (missing == NULL)
        return is_supported(what);
    kf_log_error("%s is not Python 3.%d or later: it lacks %s", what, OLDEST_MINOR, missing);
    return false;
}

static bool runs_already(void)
{
    int (*is_initialized)(void);
    void *symbol = dlsym(RTLD_DEFAULT, "Py_IsInitialized");

    memcpy(&is_initialized, &symbol, sizeof symbol);
    return symbol != NULL && is_initialized();
}

/* RTLD_GLOBAL, because Python's compiled modules look up its symbols in the process. So a library
 * that cannot be used is closed, before its symbols hide those of the next one. */
static bool open_libpython(const struct kf_python_place *place)
{
    void *library = dlopen(place->libpython, RTLD_NOW | RTLD_GLOBAL);

    if (library == NULL) {
        kf_log_error("cannot open libpython: %s", dlerror());
        return false;
    }
    if (load_api(library, place->libpython))
        return true;
    dlclose(library);
    return false;
}

/* A guess must be the version that it was taken for; what cannot be used is closed without a word. */
static bool open_guess(struct kf_python_place *place)
{
    int guessed, minor;
    void *library;

    if (!kf_guess_libpython(place, &guessed))
        return false;
    library = dlopen(place->libpython, RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL)
        return false;
    if (kf_python_api_load(library) == NULL
        && sscanf(kf_py.Py_GetVersion(), "3.%d", &minor) == 1 && minor == guessed
        && minor >= OLDEST_MINOR && !strstr(kf_py.Py_GetVersion(), FREE_THREADED))
        return true;
    dlclose(library);
    return false;
}

static bool find_and_open_libpython(struct kf_python_place *place)
{
    if (place->libpython[0] != '\0')
        return open_libpython(place);
    return open_guess(place) || (kf_ask_for_libpython(place) && open_libpython(place));
}

/* A service without LANG runs in the C locale, but its configuration files may still be UTF-8. */
static void prefer_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *locale = NULL;
    int *mode = dlsym(RTLD_DEFAULT, "Py_UTF8Mode");

    for (size_t i = 0; i < sizeof names / sizeof *names && !(locale && *locale); i++)
        locale = getenv(names[i]);
    if (mode && (!locale || !*locale || !strcmp(locale, "C") || !strcmp(locale, "POSIX")))
        *mode = 1;
}

/* Python finds the virtual environment and its packages by the program name. */
static void initialize(const char *python)
{
    wchar_t *name;

    prefer_utf8();
    name = kf_py.Py_DecodeLocale(python, NULL);
    if (name)
        kf_py.Py_SetProgramName(name); /* which keeps the pointer */
    kf_py.Py_InitializeEx(0);          /* 0: keep the host's signal handlers */
}

/* Appends to sys.path, for a package that is installed outside the usual directories. If this fails,
 * the import fails later and logs an error. */
static void add_to_path(const char *packages)
{
    kf_object *path = kf_py.PySys_GetObject("path");
    kf_object *text = kf_py.PyUnicode_DecodeFSDefault(packages);

    if (path == NULL || text == NULL || kf_py.PyList_Append(path, text) != 0)
        kf_py.PyErr_Clear();
    kf_py.Py_DecRef(text);
}

/* Makes Python write its log to the library's log descriptor. */
static bool open_log(kf_object *entry)
{
    kf_object *log_to = kf_py.PyObject_GetAttrString(entry, "log_to");
    kf_object *none = NULL;

    if (log_to)
        none = kf_py.PyObject_CallFunction(log_to, "i", kf_log_descriptor());
    kf_py.Py_DecRef(log_to);
    kf_py.Py_DecRef(none);
    return none != NULL;
}

static bool import_entry(void)
{
    kf_object *module = kf_py.PyImport_ImportModule("kinesis_fast.host.entry");

    if (module && open_log(module)) {
        entry_option_names = kf_py.PyObject_GetAttrString(module, "option_names");
        entry_init = kf_py.PyObject_GetAttrString(module, "init");
        entry_flush = kf_py.PyObject_GetAttrString(module, "flush");
        entry_exit = kf_py.PyObject_GetAttrString(module, "exit");
    }
    kf_py.Py_DecRef(module);
    if (entry_option_names && entry_init && entry_flush && entry_exit)
        return true;
    log_raised("cannot import kinesis_fast");
    return false;
}

/* Calls a function of Python's gc. It only saves time, so a failure changes nothing. */
static void call_gc(const char *name)
{
    kf_object *gc = kf_py.PyImport_ImportModule("gc");
    kf_object *function = gc ? kf_py.PyObject_GetAttrString(gc, name) : NULL;
    kf_object *none = function ? kf_py.PyObject_CallFunction(function, NULL) : NULL;

    if (none == NULL)
        kf_py.PyErr_Clear();
    kf_py.Py_DecRef(none);
    kf_py.Py_DecRef(function);
    kf_py.Py_DecRef(gc);
}

/* What is made at the start lives as long as the process. If this Python is the library's own, no
 * collection runs meanwhile, and none looks at these objects later. */
static void begin_start(void)
{
    if (is_own)
        call_gc("disable");
}

static void end_start(void)
{
    if (is_own) {
        call_gc("freeze");
        call_gc("enable");
    }
}

static void *attach_thread(void)
{
    kf_py.PyGILState_Ensure();
    return kf_py.PyEval_SaveThread();
}

static void hold_python(void *attached)
{
    kf_py.PyEval_RestoreThread(attached);
}

static void release_python(void *attached)
{
    (void)attached;
    kf_py.PyEval_SaveThread();
}

static const struct kf_job_hooks python_hooks = {attach_thread, hold_python, release_python};

/* After success this thread holds Python. */
static bool enter_python(const struct kf_python_options *options)
{
    struct kf_python_place place;
    char other[PATH_MAX];

    if (kf_find_other_copy(other)) {
        kf_log_error("this process has already opened another copy of the library, %s: restart the "
                     "host instead of reloading it", other);
        return false;
    }
    if (runs_already()) {
        if (!load_api(RTLD_DEFAULT, "the Python in this process")
            || !kf_find_packages(place.packages))
            return false;
        kf_py.PyGILState_Ensure();
    } else {
        if (!kf_find_python(options, &place) || !find_and_open_libpython(&place))
            return false;
        if (kf_py.Py_IsInitialized()) /* opened by other code without RTLD_GLOBAL */
            kf_py.PyGILState_Ensure();
        else {
            initialize(place.python);
            is_own = true;
        }
    }
    add_to_path(place.packages);
    return true;
}

bool kf_python_start(const struct kf_python_options *options)
{
    static bool is_entered;
    bool imported;

    if (is_running)
        return true;
    if (!is_entered) {
        if (!enter_python(options))
            return false;
        is_entered = true;
        begin_start();
        imported = import_entry();
        end_start();
        kf_py.PyEval_SaveThread();
        kf_jobs_hooks(&python_hooks);
    } else {
        imported = import_entry();
    }
    is_running = imported;
    return imported;
}

static bool keep_names(kf_object *list)
{
    const long n = list ? kf_py.PyList_Size(list) : -1;

    if (n < 0)
        return false;
    option_names = calloc((size_t)n + 1, sizeof *option_names);
    for (long i = 0; option_names && i < n; i++) {
        const char *name = kf_py.PyUnicode_AsUTF8AndSize(kf_py.PyList_GetItem(list, i), NULL);

        if (name == NULL || (option_names[i] = strdup(name)) == NULL)
            return false;
    }
    return option_names != NULL;
}

const char *const *kf_python_option_names(void)
{
    kf_object *list;

    if (option_names == NULL) {
        list = kf_py.PyObject_CallFunction(entry_option_names, NULL);
        if (!keep_names(list)) {
            log_raised("cannot read the names of the options");
            option_names = NULL;
        }
        kf_py.Py_DecRef(list);
    }
    return (const char *const *)option_names;
}

/* Bytes that are not UTF-8 become surrogates; the check of the options rejects those. */
static bool put_option(kf_object *options, const char *name, const char *value)
{
    kf_object *text = kf_py.PyUnicode_DecodeUTF8(value, (long)strlen(value), "surrogateescape");
    bool put = text && kf_py.PyDict_SetItemString(options, name, text) == 0;

    kf_py.Py_DecRef(text);
    return put;
}

long kf_python_init(const char *const *values)
{
    kf_object *options = kf_py.PyDict_New();
    kf_object *result = NULL;
    bool complete = options != NULL;
    static bool is_later; /* a hot reload leaves garbage, which must not be frozen */

    for (size_t i = 0; complete && option_names[i]; i++)
        complete = values[i] == NULL || put_option(options, option_names[i], values[i]);
    if (!is_later)
        begin_start();
    if (complete)
        result = kf_py.PyObject_CallFunction(entry_init, "(O)", options);
    if (!is_later)
        end_start();
    is_later = true;
    kf_py.Py_DecRef(options);
    return number_of(result, 0, "cannot create the output");
}

/* The host frees its memory after the call: Python must not read it from here on. */
static void release_view(kf_object *view)
{
    kf_object *release = kf_py.PyObject_GetAttrString(view, "release");
    kf_object *none = release ? kf_py.PyObject_CallFunction(release, NULL) : NULL;

    if (none == NULL)
        log_raised("the host's memory is still in use after the flush");
    kf_py.Py_DecRef(none);
    kf_py.Py_DecRef(release);
}

int kf_python_flush(long handle, const void *data, size_t n, const char *tag)
{
    kf_object *view = kf_py.PyMemoryView_FromMemory((char *)data, (long)n, BUFFER_READ);
    kf_object *name = kf_py.PyUnicode_DecodeUTF8(tag, (long)strlen(tag), "replace");
    kf_object *result = NULL;
    int code;

    if (view && name)
        result = kf_py.PyObject_CallFunction(entry_flush, "lOO", handle, view, name);
    code = (int)number_of(result, FLB_RETRY, "the flush failed");
    if (view)
        release_view(view);
    kf_py.Py_DecRef(view);
    kf_py.Py_DecRef(name);
    return code;
}

int kf_python_exit(long handle)
{
    return (int)number_of(kf_py.PyObject_CallFunction(entry_exit, "l", handle), FLB_ERROR,
                          "cannot close the output");
}
