"""Spools for the tests."""

from __future__ import annotations

from pathlib import Path

from chunks import output_config

from kinesis_fast import OutputConfig
from kinesis_fast.storage.spool import Spool


def spool_config(root: Path, **options: str) -> OutputConfig:
    """Return a configuration with a spool."""
    return output_config({"spool_dir": str(root), "experimental_concurrency": "1", **options})


def open_spool(root: Path, **options: str) -> Spool:
    """Open the spool of an output."""
    return Spool.open(spool_config(root, **options))


def files_of(spool: Spool) -> list[str]:
    """Return the names in the directory of an instance."""
    return sorted(path.name for path in Path(spool.path).iterdir())


def n_bytes_on_disk(spool: Spool) -> int:
    """Return what all files in the directory of an instance have."""
    return sum(path.stat().st_size for path in Path(spool.path).iterdir())
