/* The functions of Python's stable ABI that the library uses, found with dlsym. */
#ifndef KF_PYTHON_API_H
#define KF_PYTHON_API_H

#include <stdbool.h>
#include <stddef.h>
#include <wchar.h>

typedef struct kf_object kf_object; /* PyObject */
typedef struct kf_thread kf_thread; /* PyThreadState */

#define KF_PYTHON_FUNCTIONS(FUNCTION)                                                          \
    FUNCTION(int, Py_IsInitialized, (void))                                                    \
    FUNCTION(const char *, Py_GetVersion, (void))                                              \
    FUNCTION(void, Py_SetProgramName, (const wchar_t *))                                       \
    FUNCTION(wchar_t *, Py_DecodeLocale, (const char *, size_t *))                             \
    FUNCTION(void, Py_InitializeEx, (int))                                                     \
    FUNCTION(int, PyGILState_Ensure, (void))                                                   \
    FUNCTION(kf_thread *, PyEval_SaveThread, (void))                                           \
    FUNCTION(void, PyEval_RestoreThread, (kf_thread *))                                        \
    FUNCTION(void, Py_DecRef, (kf_object *))                                                   \
    FUNCTION(kf_object *, PyImport_ImportModule, (const char *))                               \
    FUNCTION(kf_object *, PyObject_GetAttrString, (kf_object *, const char *))                 \
    FUNCTION(kf_object *, PyObject_CallFunction, (kf_object *, const char *, ...))             \
    FUNCTION(kf_object *, PyObject_Str, (kf_object *))                                         \
    FUNCTION(kf_object *, PySys_GetObject, (const char *))                                     \
    FUNCTION(kf_object *, PyDict_New, (void))                                                  \
    FUNCTION(int, PyDict_SetItemString, (kf_object *, const char *, kf_object *))              \
    FUNCTION(long, PyList_Size, (kf_object *))                                                 \
    FUNCTION(kf_object *, PyList_GetItem, (kf_object *, long))                                 \
    FUNCTION(int, PyList_Append, (kf_object *, kf_object *))                                   \
    FUNCTION(kf_object *, PyMemoryView_FromMemory, (char *, long, int))                        \
    FUNCTION(long, PyLong_AsLong, (kf_object *))                                               \
    FUNCTION(kf_object *, PyUnicode_DecodeUTF8, (const char *, long, const char *))            \
    FUNCTION(kf_object *, PyUnicode_DecodeFSDefault, (const char *))                           \
    FUNCTION(const char *, PyUnicode_AsUTF8AndSize, (kf_object *, long *))                     \
    FUNCTION(kf_object *, PyErr_Occurred, (void))                                              \
    FUNCTION(void, PyErr_Fetch, (kf_object **, kf_object **, kf_object **))                    \
    FUNCTION(void, PyErr_NormalizeException, (kf_object **, kf_object **, kf_object **))       \
    FUNCTION(void, PyErr_Clear, (void))

struct kf_python_api {
#define KF_MEMBER(result, name, arguments) result(*name) arguments;
    KF_PYTHON_FUNCTIONS(KF_MEMBER)
#undef KF_MEMBER
};

extern struct kf_python_api kf_py;

/* Fills kf_py from an open library, or from the process (RTLD_DEFAULT). Returns the name of the
 * first missing function, or NULL. */
const char *kf_python_api_load(void *library);

#endif
