"""The flush contract: a chunk comes in, OK or RETRY goes back, and the account is right."""

import os
import threading
import weakref
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Self

from kinesis_fast import logs
from kinesis_fast.condition import Condition
from kinesis_fast.config import OutputConfig
from kinesis_fast.config.missing_keys import missing_keys
from kinesis_fast.delivery.background import Background
from kinesis_fast.delivery.concurrency_limit import AdaptiveConcurrency
from kinesis_fast.delivery.context import REAL_TIME, DeliveryContext, Pauses, Timing
from kinesis_fast.delivery.foreground import Foreground
from kinesis_fast.delivery.protocol_in_use import ProtocolInUse
from kinesis_fast.delivery.protocols import Chunk, Encoder, Mode
from kinesis_fast.delivery.refusals import Refusals
from kinesis_fast.delivery.resume import ResumeMemory
from kinesis_fast.delivery.spooled import Spooled
from kinesis_fast.delivery.thread_pool import ThreadPool
from kinesis_fast.encoder import RecordEncoder
from kinesis_fast.errors import ClosedError
from kinesis_fast.limits import CLOSE_TIMEOUT_S
from kinesis_fast.stats import Counters, Stats
from kinesis_fast.storage.dead_letters import DeadLetters
from kinesis_fast.storage.spool import Spool
from kinesis_fast.transport import Transport
from kinesis_fast.transport.botocore_client import BotocoreTransport
from kinesis_fast.transport.client import open_transport
from kinesis_fast.transport.direct.transport import DirectTransport
from kinesis_fast.watchdog import Watchdog, send_failure_timeout

if TYPE_CHECKING:
    from kinesis_fast.metrics.publication import Publication


class FlushResult(IntEnum):
    """What becomes of a chunk, in Fluent Bit's numbers."""

    ERROR = 0
    OK = 1
    RETRY = 2


class _Parts(NamedTuple):
    """What an output has in each process that uses it."""

    mode: Mode
    context: DeliveryContext
    own_transport: DirectTransport | BotocoreTransport | None
    publication: "Publication | None"


class KinesisOutput:
    """Delivers chunks to one stream; every method may be called by several threads at once.

    In a forked child it starts anew: counters at zero, connections of its own, and nothing of
    what the parent has in flight. Only a `transport` that was passed in stays the same.

    Args:
        config: what to send where.
        transport: how to send; the one that the configuration asks for by default.
        log: where log lines go; each of several outputs in a process has a `logs.for_instance`.
        on_send_failure: called with the reason when SEND_FAILURE_TIMEOUT has passed, even while a
            request hangs. `watchdog.exit_process` is what a host process wants.
        make_encoder: makes requests of chunks.
        timing: clock and waits.

    Raises:
        ConfigError: profile, region or endpoint are of no use, or SEND_FAILURE_TIMEOUT is wrong.
        StorageError: spool_dir or dead_letter_dir cannot be used.
    """

    def __init__(
        self,
        config: OutputConfig,
        transport: Transport | None = None,
        *,
        log: logs.Log = logs.LOGGER,
        on_send_failure: Callable[[str], object] | None = None,
        make_encoder: Callable[[OutputConfig], Encoder] = RecordEncoder,
        timing: Timing = REAL_TIME,
    ) -> None:
        logs.configure()
        log.info("%s", config.describe())
        for text in config.warnings():
            log.warning("%s", text)
        self._log = log
        self._config = config
        self._given_transport = transport
        self._on_send_failure = on_send_failure
        self._make_encoder = make_encoder
        self._timing = timing
        self._is_closed = False
        self._start_anew()
        self._begin_call(self)
        self._end_call(self)
        _OUTPUTS.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def flush(self, chunk: Chunk, tag: str = "") -> FlushResult:
        """Deliver one chunk.

        Args:
            chunk: msgpack events, bytes-like, unchanged until this returns and not held longer.
            tag: Fluent Bit's name for the source, used in log lines.

        Returns:
            OK when every record is acknowledged, or skipped or dead for a reason that stands in
            `stats`; with experimental_concurrency when the chunk was taken over. RETRY when the
            chunk is to be brought again. ERROR, for what can never succeed, is not needed here.

        Raises:
            ClosedError: after close().
            SendFailureTimeout: SEND_FAILURE_TIMEOUT has passed; what is left counts as returned.
            TypeError: the chunk is not bytes-like.
        """
        call = object()
        try:
            mode = self._begin_call(call)
            return FlushResult.OK if mode.take_over(chunk, tag) else FlushResult.RETRY
        finally:
            try:
                self._end_call(call)
            except BaseException:  # or close() would wait for this call
                self._end_call(call)
                raise

    def stats(self) -> Stats:
        """Return the counters as they are now; see Stats."""
        return self._stats.snapshot()

    def unread_chunks(self) -> int:
        """Return how many chunks of an earlier run wait in the spool, in no counter of stats() yet.

        When this is 0, and then `pending` too, nothing is left to deliver.
        """
        parts = self._parts
        return 0 if parts is None else parts.mode.n_unread()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Wait for what is in flight; flush raises from now on. A second call does nothing.

        Args:
            timeout_s: seconds to wait at most. What is left then stays pending; a line says so.
        """
        end = self._timing.clock() + timeout_s
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            parts = self._parts
        if parts is None:
            return
        try:
            parts.mode.close(timeout_s)
            with self._changed:
                left_s = max(0.0, end - self._timing.clock())
                self._changed.wait_for(lambda: not self._calls, left_s)
        finally:  # also when the wait is interrupted
            self._let_go(parts)

    def _let_go(self, parts: _Parts) -> None:
        """End threads and connections, and say what is left."""
        parts.context.threads.close()
        parts.context.watchdog.close()
        if parts.own_transport is not None:  # it closes connections in use after their response
            parts.own_transport.close()
        if n_unread := parts.mode.n_unread():
            self._log.info(
                "closed; chunks of an earlier run that wait in the spool: %d; the next start sends "
                "them",
                n_unread,
            )
        n_left = self._stats.snapshot()["pending"]
        if n_left and self._config.spool_dir:
            self._log.info("closed; records in the spool: %d; the next start sends them", n_left)
        elif n_left:
            self._log.error("closed; records that were not delivered: %d", n_left)
        if parts.publication is not None:  # last, with the counters as they are now
            parts.publication.close()

    def _start_anew(self) -> None:
        """Forget counters, locks, connections and all that is in flight, without touching them."""
        self._changed = Condition(threading.Lock())
        self._calls: set[object] = set()  # of flush, that have not returned
        self._stats = Counters()
        self._parts: _Parts | None = None

    def _begin_call(self, call: object) -> Mode:
        """Note a call of flush; at the start and after a fork, open what deliveries need."""
        with self._changed:
            if self._is_closed:
                raise ClosedError("flush() after close(): this output takes no more chunks")
            if self._parts is None:
                self._parts = self._make_parts()
            self._calls.add(call)
            return self._parts.mode

    def _end_call(self, call: object) -> None:
        """End a call, if it has begun; a second time does nothing."""
        with self._changed:
            self._calls.discard(call)
            self._changed.notify_all()

    def _make_parts(self) -> _Parts:
        config = self._config
        publication = _publication(config, self._log)
        watchdog = Watchdog(
            send_failure_timeout(), clock=self._timing.clock, on_expired=self._on_send_failure
        )
        transport, own_transport = self._given_transport, None
        if transport is None:
            transport = own_transport = open_transport(config, self._log)
        context = DeliveryContext(
            self._make_encoder(config),
            publication.measured(transport) if publication else transport,
            self._protocol_of(transport),
            config.http_request_timeout or None,
            config.max_in_flight,
            AdaptiveConcurrency(config.max_in_flight, self._timing.random),
            ThreadPool("kinesis-fast-delivery", self._log),
            ResumeMemory(self._timing.clock),
            Refusals(self._stats.n_delivered),
            self._stats,
            watchdog,
            self._timing,
            Pauses(self._timing),
            self._log,
            missing_keys(config),
            DeadLetters.open(config, self._log, self._timing.clock)
            if config.dead_letter_dir
            else None,
            publication.meter if publication else None,
        )
        mode = self._make_mode(context)
        if publication is not None:
            publication.begin(context, transport, mode)
        return _Parts(mode, context, own_transport, publication)

    def _protocol_of(self, transport: Transport) -> ProtocolInUse:
        is_wanted = self._config.protocol == "cbor"
        is_cbor = is_wanted and bool(getattr(transport, "takes_cbor", False))
        if is_wanted and not is_cbor:
            self._log.warning("the transport of this output takes no CBOR, so requests are JSON")
        return ProtocolInUse(self._log, is_cbor=is_cbor)

    def _make_mode(self, context: DeliveryContext) -> Mode:
        config = self._config
        n_slots = config.experimental_concurrency
        n_retries = config.experimental_concurrency_retries
        if not n_slots:
            return Foreground(context)
        if config.spool_dir is None:
            return Background(context, n_slots, n_retries)
        spool = Spool.open(config, self._log, self._timing.clock)
        self._log.info(
            "chunks are kept in %s until they are delivered; when spool_max_bytes are full, flush "
            "returns RETRY, and Fluent Bit's Retry_Limit decides what it keeps",
            spool.path,
        )
        return Spooled(context, spool, n_slots, n_retries)


def _publication(config: OutputConfig, log: logs.Log) -> "Publication | None":
    if not (config.metrics_listen or config.metrics_file or config.stats_interval):
        return None
    from kinesis_fast.metrics.publication import Publication  # noqa: PLC0415 (memory, time)

    return Publication(config, log)


_OUTPUTS: weakref.WeakSet[KinesisOutput] = weakref.WeakSet()


def _start_anew_in_child() -> None:
    for output in list(_OUTPUTS):
        output._start_anew()


os.register_at_fork(after_in_child=_start_anew_in_child)
