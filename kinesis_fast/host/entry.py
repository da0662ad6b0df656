"""What the shared library calls for Fluent Bit; any host that embeds Python may use it as well.

None of these functions raises: they log one line and return Fluent Bit's codes, 0 ERROR, 1 OK and
2 RETRY. Any thread may call them.
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
from kinesis_fast.watchdog import exit_process

NO_HANDLE: Final = 0
ACCOUNT: Final = ("in", "delivered", "skipped", "dead", "pending", "returned")


class _Instance(NamedTuple):
    output: KinesisOutput
    log: logs.Log


_instances: dict[int, _Instance] = {}
_lock = threading.Lock()
_numbers = itertools.count()


def option_names() -> list[str]:
    """Return the names of the options to ask the host for."""
    return config.option_names()


def log_to(descriptor: int) -> None:
    """Write the log to this file descriptor from now on, which stays open.

    The host may close its standard error, and open something else under that number.
    """
    sys.stderr = os.fdopen(
        descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def init(options: dict[str, str]) -> int:
    """Make an output of options as Fluent Bit passes them, absent ones left out.

    Returns:
        A handle for the other calls, at least 1; 0 after an error line, when the options or the
        environment are wrong.
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
        log.exception("the output cannot be made")
        return NO_HANDLE
    with _lock:
        _instances[number + 1] = instance
    return number + 1


def flush(handle: int, chunk: memoryview, tag: str) -> int:
    """Deliver one chunk.

    Args:
        handle: what init returned.
        chunk: bytes-like, unchanged until this returns; nothing looks at it afterwards.
        tag: Fluent Bit's name for the source.

    Returns:
        OK, RETRY, or ERROR for a handle that is not there.
    """
    instance = _instances.get(handle)
    if instance is None:
        logs.LOGGER.error("flush for an output that is not there (handle %d)", handle)
        return FlushResult.ERROR
    try:
        return instance.output.flush(chunk, tag)
    except (KinesisFastError, MemoryError) as error:
        instance.log.error("%s; the chunk is given back", str(error) or "no memory")
    except Exception:
        instance.log.exception("unexpected failure; the chunk is given back")
    return FlushResult.RETRY


def exit(handle: int) -> int:
    """Wait up to 5 s for what is in flight, log the account, and forget the output.

    Returns:
        OK, or ERROR for a handle that is not there.
    """
    with _lock:
        instance = _instances.pop(handle, None)
    if instance is None:
        logs.LOGGER.error("exit for an output that is not there (handle %d)", handle)
        return FlushResult.ERROR
    try:
        instance.output.close()
    except Exception:
        instance.log.exception("the output cannot be closed in order")
    stats = instance.output.stats()
    instance.log.info("records: %s", " ".join(f"{name}={stats[name]}" for name in ACCOUNT))
    # botocore's clients are cycles: after many hot reloads the old ones would pile up.
    del instance
    gc.collect()
    return FlushResult.OK
