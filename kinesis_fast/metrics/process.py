"""What the outputs of a process share to be seen: their list, addresses that serve it, files."""

import os
import threading
from dataclasses import dataclass

from kinesis_fast.logs import Log
from kinesis_fast.metrics.pages import Pages
from kinesis_fast.metrics.services import Listening, Writing
from kinesis_fast.metrics.shown import Registry, ShownOutput

Key = tuple[str, int] | str  # an address or a path


@dataclass
class _Shared:
    """A service, and how many outputs want it."""

    service: Listening | Writing
    n_outputs: int = 0


class Process:
    """Outputs that are shown, and where; any thread may call any method."""

    def __init__(self) -> None:
        self._registry = Registry()
        self._pages = Pages(self._registry)
        self._lock = threading.Lock()
        self._shared: dict[Key, _Shared] = {}

    def show(self, output: ShownOutput, log: Log) -> None:
        """Show an output wherever metrics are, and have them where it wants them."""
        with self._lock:
            self._registry.add(output)
            for key in _wanted_by(output):
                shared = self._shared.get(key)
                if shared is None:
                    shared = self._shared[key] = _Shared(self._begin(key, log))
                shared.n_outputs += 1

    def hide(self, output: ShownOutput) -> None:
        """Show an output no more, and have metrics no longer where only this one wants them."""
        with self._lock:
            for key in _wanted_by(output):
                shared = self._shared[key]
                shared.n_outputs -= 1
                if not shared.n_outputs:
                    del self._shared[key]
                    shared.service.end()
            self._registry.remove(output)

    def forget(self) -> None:
        """Close what a forked child has of it; the locks may be held for ever."""
        for shared in self._shared.values():
            shared.service.forget()

    def _begin(self, key: Key, log: Log) -> Listening | Writing:
        service: Listening | Writing
        if isinstance(key, str):
            service = Writing(key, self._pages, log)
        else:
            service = Listening(key, self._pages, log)
        service.begin()
        return service


def _wanted_by(output: ShownOutput) -> list[Key]:
    config = output.config
    return [key for key in (config.metrics_listen, config.metrics_file) if key is not None]


class _Current:
    process = Process()


def this_process() -> Process:
    """Return what the outputs of this process share."""
    return _Current.process


def _start_anew_in_child() -> None:
    _Current.process.forget()
    _Current.process = Process()


os.register_at_fork(after_in_child=_start_anew_in_child)
