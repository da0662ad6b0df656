"""SIGPIPE: a host that embeds Python may not ignore it, and OpenSSL writes without a way around."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SIGPIPE: Final = {signal.SIGPIPE}


@contextmanager
def held_off() -> Iterator[None]:
    """Let a broken connection be an error and nothing else, in this thread while this lasts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGPIPE)
    try:
        yield
    finally:
        if signal.SIGPIPE not in before:
            signal.sigtimedwait(_SIGPIPE, 0)  # what was raised meanwhile is not to come later
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGPIPE)
