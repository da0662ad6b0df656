"""Threads of this room: daemons that handle no signal, because the host's own threads have to."""

import signal
import threading
from collections.abc import Callable


def start(name: str, run: Callable[[], object]) -> threading.Thread:
    """Start a daemon thread with all signals blocked.

    Args:
        name: of the thread.
        run: what it does.

    Raises:
        RuntimeError: the system has no more threads.
    """
    thread = threading.Thread(target=run, name=name, daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()  # it inherits the mask
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return thread
