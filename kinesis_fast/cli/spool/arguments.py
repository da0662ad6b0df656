"""What the arguments of `kinesis-fast spool` mean: options, place, selection."""

import os
from argparse import Namespace

from kinesis_fast.cli.common import parse_options
from kinesis_fast.cli.spool.chunks import ChunkSource
from kinesis_fast.cli.spool.items import Selection
from kinesis_fast.cli.spool.letters import LetterSource
from kinesis_fast.config import OutputConfig
from kinesis_fast.storage.spool.identity import identity_of


def config_of(arguments: Namespace) -> OutputConfig | None:
    """Return the options of an output, None when none are given."""
    options = parse_options(arguments.options)
    return OutputConfig.from_options(options) if options else None


def source_of(arguments: Namespace, config: OutputConfig | None) -> ChunkSource | LetterSource:
    """Return the place that is meant; config: what is there is compared with it."""
    today = identity_of(config) if config else None
    if arguments.spool is not None:
        return ChunkSource(os.path.abspath(arguments.spool), today)  # noqa: PTH100
    return LetterSource(os.path.abspath(arguments.dead_letters), today)  # noqa: PTH100


def selection_of(arguments: Namespace) -> Selection:
    """Return which items are meant."""
    return Selection(arguments.older_than, arguments.stream, arguments.damaged)
