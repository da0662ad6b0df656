"""Selects the kernels for the best level that the CPU supports, once, at import.

Only tests and benchmarks choose another level.
"""

from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.bytearray cimport PyByteArray_AsString
from libc.stdlib cimport free, malloc


cdef extern from "kernels/all_kernels.hpp" nogil:
    ctypedef enum kf_level:
        KF_SCALAR
    kf_level kf_best_level()
    const char* kf_level_name(kf_level level)
    kf_kernel_table kf_kernels_of(kf_level level)


cdef kf_level level_in_use = kf_best_level()
kernels = kf_kernels_of(level_in_use)


def levels():
    """Return the names of the levels that this CPU supports, the slowest first."""
    return tuple([name_of(<kf_level> number) for number in range(<int> kf_best_level() + 1)])


def level():
    """Return the name of the level in use."""
    return name_of(level_in_use)


def use_level(str name not None):
    """Use the kernels of another level in the whole process.

    No other thread may encode meanwhile. Raises ValueError if this CPU does not support the level.
    """
    global level_in_use, kernels
    cdef tuple names = levels()
    if name not in names:
        raise ValueError(f"no kernels of level {name} on this CPU; it has: {', '.join(names)}")
    level_in_use = <kf_level> <int> names.index(name)
    kernels = kf_kernels_of(level_in_use)


def escape(source, target):
    """Write the source as the inside of a JSON string to the target; return the number of bytes.

    Raises ValueError if the target has less than 6 bytes per byte of the source, plus 32.
    """
    return run(kernels.escape, KF_ESCAPE_MAX * len(source), source, target)


def base64(source, target):
    """Write the source as base64 to the target and return the number of bytes.

    Raises ValueError if the target is not at least 32 bytes longer than the base64 text.
    """
    return run(kernels.base64, kf_base64_length(len(source)), source, target)


def md5(messages):
    """Return the MD5 of each message, as a list of 16 bytes each.

    messages: an iterable of bytes-like objects of any length.
    """
    cdef tuple held = tuple(messages)
    cdef size_t n = <size_t> len(held)
    cdef size_t n_viewed = 0
    cdef bytearray digests = bytearray(16 * n)
    cdef Py_buffer* views = <Py_buffer*> malloc((n + 1) * sizeof(Py_buffer))
    cdef kf_md5_message* parts = <kf_md5_message*> malloc((n + 1) * sizeof(kf_md5_message))
    try:
        if not views or not parts:
            raise MemoryError
        for message in held:
            PyObject_GetBuffer(message, &views[n_viewed], PyBUF_SIMPLE)
            parts[n_viewed].data = <const uint8_t*> views[n_viewed].buf
            parts[n_viewed].n = <size_t> views[n_viewed].len
            parts[n_viewed].digest = <uint8_t*> PyByteArray_AsString(digests) + 16 * n_viewed
            n_viewed += 1
        with nogil:
            kernels.md5(parts, n)
        return [bytes(digests[16 * i:16 * (i + 1)]) for i in range(n)]
    finally:
        while n_viewed:
            n_viewed -= 1
            PyBuffer_Release(&views[n_viewed])
        free(views)
        free(parts)


cdef str name_of(kf_level level):
    return kf_level_name(level).decode()


cdef size_t run(kf_kernel kernel, size_t room, source, target) except? 0:
    cdef Py_buffer src, out
    cdef uint8_t* end
    cdef const uint8_t* start
    PyObject_GetBuffer(source, &src, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(target, &out, PyBUF_WRITABLE)
        try:
            if <size_t> out.len < room + KF_SLACK:
                raise ValueError(f"the target has {out.len} bytes and needs {room + KF_SLACK}")
            start = <const uint8_t*> src.buf
            end = kernel(<uint8_t*> out.buf, start, <size_t> src.len, start + src.len)
            return <size_t> (end - <uint8_t*> out.buf)
        finally:
            PyBuffer_Release(&out)
    finally:
        PyBuffer_Release(&src)
