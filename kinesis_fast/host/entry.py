"""The functions that the shared library calls for Fluent Bit; other hosts may call them as well.

Any thread may call them. They never raise: they log an error and return Fluent Bit's code for it.
The codes are 0 ERROR, 1 OK and 2 RETRY.
"""

import gc
import itertools
import os
import sys
import threading
from functools import partial
from typing import Final, NamedTuple

from kinesis_fast import config, logs
from kinesis_fast.errors import KinesisFastError
from kinesis_fast.output import FlushResult, KinesisOutput
from kinesis_fast.stats import account_text
from kinesis_fast.transport.secrets import failure_text
from kinesis_fast.watchdog import exit_process

NO_HANDLE: Final = 0


class _Instance(NamedTuple):
    output: KinesisOutput
    log: logs.Log


_instances: dict[int, _Instance] = {}
_lock = threading.Lock()
_numbers = itertools.count()


def option_names() -> list[str]:
    """Return the names of all options that a host may pass to init()."""
    return config.option_names()


def log_to(descriptor: int) -> None:
    """Write the log to a file descriptor from now on, and never close the descriptor.

    The host may close standard error, and another file may then get the number 2.
    """
    sys.stderr = os.fdopen(
        descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def init(options: dict[str, str]) -> int:
    """Create an output.

    Args:
        options: names and values as Fluent Bit passes them, without the options that are not set.

    Returns:
        A handle for the other calls, at least 1; 0 if the options or the environment are wrong.
    """
    logs.to_stderr()
    number = next(_numbers)
    log = logs.for_instance(number)
    try:
        checked = config.OutputConfig.from_options(options)
        end = partial(exit_process, log=log)
        instance = _Instance(KinesisOutput(checked, log=log, on_send_failure=end), log)
    except KinesisFastError as error:
        log.error("%s", error)
        return NO_HANDLE
    except Exception:
        log.error("cannot create the output\n%s", failure_text())
        return NO_HANDLE
    with _lock:
        _instances[number + 1] = instance
    return number + 1


def flush(handle: int, chunk: memoryview, tag: str) -> int:
    """Deliver one chunk.

    Args:
        handle: what init() returned.
        chunk: bytes-like. It must not change until this returns; it is not read afterwards.
        tag: Fluent Bit's name for the source of the chunk.

    Returns:
        OK, RETRY, or ERROR for an unknown handle.
    """
    instance = _instances.get(handle)
    if instance is None:
        logs.LOGGER.error("flush called with unknown handle %d", handle)
        return FlushResult.ERROR
    try:
        return instance.output.flush(chunk, tag)
    except (KinesisFastError, MemoryError) as error:
        reason = str(error) or "out of memory"
        instance.log.error("%s; returning the chunk to Fluent Bit (RETRY)", reason)
    except Exception:
        instance.log.error(
            "unexpected error; returning the chunk to Fluent Bit (RETRY)\n%s", failure_text()
        )
    return FlushResult.RETRY


def exit(handle: int) -> int:
    """Close an output: wait up to 5 s for requests in flight, then log the counters.

    Returns:
        OK, or ERROR for an unknown handle.
    """
    with _lock:
        instance = _instances.pop(handle, None)
    if instance is None:
        logs.LOGGER.error("exit called with unknown handle %d", handle)
        return FlushResult.ERROR
    try:
        instance.output.close()
    except Exception:
        instance.log.error("cannot close the output properly\n%s", failure_text())
    instance.log.info("%s", account_text(instance.output.stats()))
    # botocore's clients are reference cycles, which would pile up over many hot reloads.
    del instance
    gc.collect()
    return FlushResult.OK
