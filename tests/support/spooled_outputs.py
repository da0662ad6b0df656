"""Outputs with a spool, and what is in it."""

from __future__ import annotations

from pathlib import Path

from chunks import output_config
from fake_transport import FakeTime, FakeTransport

from kinesis_fast import KinesisOutput
from kinesis_fast.delivery.spooled import Spooled


def spooling(
    transport: FakeTransport, root: Path, clock: FakeTime | None = None, /, **options: str
) -> KinesisOutput:
    """Return an output that sends one request of one chunk at a time from a spool below root."""
    defaults = {
        "spool_dir": str(root / "spool"),
        "experimental_concurrency": "1",
        "max_in_flight": "1",
    }
    timing = (clock or FakeTime(chance=0.0)).timing()
    return KinesisOutput(output_config(defaults | options), transport, timing=timing)


def chunk_files(root: Path) -> list[Path]:
    """Return the files of the chunks in the spool below root, oldest first."""
    return sorted((root / "spool").glob("*/*.chunk"))


def mode_of(output: KinesisOutput) -> Spooled:
    """Return what sends the chunks of a spool."""
    mode = output._parts.mode if output._parts else None
    assert isinstance(mode, Spooled)
    return mode
