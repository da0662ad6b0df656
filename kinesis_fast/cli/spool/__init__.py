"""`kinesis-fast spool`: list, send, copy and remove what outputs keep on disk."""

from kinesis_fast.cli.spool.command import parser, run

__all__ = ["parser", "run"]
