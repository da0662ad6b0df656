"""How one output is seen from outside: as metrics, as a log line now and then, or not at all."""

import logging
import weakref
from typing import Any

from kinesis_fast.config import OutputConfig
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.protocols import Mode
from kinesis_fast.errors import ConfigError
from kinesis_fast.logs import Log
from kinesis_fast.metrics.meter import MeasuredTransport, Meter
from kinesis_fast.metrics.shown import Parts, ShownOutput
from kinesis_fast.metrics.ticker import Task, shared_ticker
from kinesis_fast.stats import account_text
from kinesis_fast.transport import Transport


class Publication:
    """Shows one output; nothing of it before `begin`.

    Args:
        config: with metrics_listen, metrics_file or stats_interval.
        log: of the output.

    Raises:
        ConfigError: metrics are wanted, and the package prometheus_client is missing.
    """

    def __init__(self, config: OutputConfig, log: Log) -> None:
        self._config = config
        self._log = log
        self._shown: ShownOutput | None = None
        self._task: Task | None = None
        self.meter: Meter | None = None
        if config.metrics_listen or config.metrics_file:
            _check_package(config)
            self.meter = Meter()

    def measured(self, transport: Transport) -> Transport:
        """Return a transport that sends through another one, and measures that if it is wanted."""
        return transport if self.meter is None else MeasuredTransport(transport, self.meter)

    def begin(self, context: DeliveryContext, transport: Transport, mode: Mode) -> None:
        """Show the output from now on.

        Args:
            context: what its deliveries share.
            transport: its own, not measured.
            mode: how it delivers.
        """
        parts = Parts(context, transport, mode)
        if self.meter is not None:
            from kinesis_fast.metrics.process import this_process  # noqa: PLC0415

            self._shown = ShownOutput(self._config, parts, self.meter, _number_of(self._log))
            this_process().show(self._shown, self._log)
        if self._config.stats_interval:
            self._task = self._log_stats(parts, self._config.stats_interval)

    def close(self) -> None:
        """Show the output no more. The address is free when its last output is closed."""
        if self._task is not None:
            shared_ticker().remove(self._task)
        if self._shown is not None:
            from kinesis_fast.metrics.process import this_process  # noqa: PLC0415

            this_process().hide(self._shown)
            self._shown = None

    def _log_stats(self, parts: Parts, interval_s: float) -> Task:
        stats, log = parts.context.stats, self._log
        this = weakref.ref(self)  # the line does not keep an output that was dropped

        def write() -> bool:
            if this() is None:
                return False
            log.info("%s", account_text(stats.snapshot()))
            return True

        return shared_ticker().add(interval_s, write)


def _check_package(config: OutputConfig) -> None:
    try:
        import prometheus_client  # noqa: F401, PLC0415 (takes time and memory: only if wanted)
    except ImportError as error:
        name = "metrics_listen" if config.metrics_listen else "metrics_file"
        raise ConfigError(
            f"option {name} needs the package prometheus_client, which cannot be imported "
            f"({error}); install it for this Python: pip install 'kinesis-fast[metrics]'"
        ) from None


def _number_of(log: Log) -> int | None:
    """Return the number in the log lines of an output."""
    extra: Any = log.extra if isinstance(log, logging.LoggerAdapter) else None
    number = extra.get("instance") if extra else None
    return number if isinstance(number, int) else None
