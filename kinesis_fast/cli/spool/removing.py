"""`kinesis-fast spool replay` and `purge`: what is done with goes."""

import sys
from argparse import Namespace
from collections import Counter
from typing import Final

from kinesis_fast.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_SIGNAL,
    UsageError,
    complain,
    counted,
    megabytes,
)
from kinesis_fast.cli.sending import GivenUp, Interrupts
from kinesis_fast.cli.spool.arguments import config_of, selection_of, source_of
from kinesis_fast.cli.spool.chunks import ChunkSource
from kinesis_fast.cli.spool.items import OTHER_OPTIONS, OTHER_STREAM, SENDABLE, Item, Selection
from kinesis_fast.cli.spool.letters import LetterSource
from kinesis_fast.cli.spool.replay_output import Resending

NEEDS_PERMISSION: Final = "removing cannot be taken back: say --yes, or run it on a terminal"


class Replay:
    """One run of `replay`.

    Args:
        sending: where to.
        selection: what.
        other_options: whether items for other options or another stream are sent, too.
        is_letters: whether items are letters.
    """

    def __init__(
        self, sending: Resending, selection: Selection, *, other_options: bool, is_letters: bool
    ) -> None:
        self.n_done = 0
        self.kept: Counter[str] = Counter()  # by reason
        self.interrupts = Interrupts()
        self._sending = sending
        self._selection = selection
        self._other_options = other_options
        self._is_letters = is_letters

    def visit(self, item: Item) -> bool:
        """Send an item. Returns whether it can be removed."""
        if not self._selection.holds(item):
            return False
        reason = self._reason_to_keep(item)
        if reason:
            self.kept[reason] += 1
            return False
        self.n_done += 1
        return True

    def _reason_to_keep(self, item: Item) -> str:
        is_other = item.state in {OTHER_OPTIONS, OTHER_STREAM}
        if item.state not in SENDABLE or (is_other and not self._other_options):
            return item.state
        if self.interrupts.first is not None:
            return "not tried"
        payload = item.unsettled
        return self._send(payload, item.tag) if payload else ""

    def _send(self, payload: bytes, tag: str) -> str:
        try:
            shares = self._sending.send(payload, tag)
        except GivenUp:
            self.kept["not delivered"] += 1
            raise
        if shares["dead"] or shares["returned"]:
            return "refused or given up"
        if self._is_letters and not shares["delivered"]:
            return "skipped again"
        return ""


def replay_items(arguments: Namespace) -> int:
    """Send items, remove what was delivered, and say what stays."""
    config = config_of(arguments)
    if config is None:
        raise UsageError("replay needs the options of an output: -p region=... -p stream=...")
    source = source_of(arguments, config)
    is_letters = isinstance(source, LetterSource)
    is_given_up = False
    with Resending(config, whole=is_letters) as sending:
        replay = Replay(
            sending,
            selection_of(arguments),
            other_options=arguments.other_options,
            is_letters=is_letters,
        )
        try:
            with replay.interrupts:
                source.sift(replay.visit)
        except GivenUp as error:
            is_given_up = True
            complain(str(error))
    totals = sending.totals
    print(f"{counted(replay.n_done, source.noun)} done and removed")
    for reason, number in replay.kept.items():
        print(f"{counted(number, source.noun)} kept: {reason}")
    for share in ("skipped", "dead", "returned"):
        if totals[share]:
            print(f"{counted(totals[share], 'record')} {share}")
    print(f"delivered {counted(totals['delivered'], 'record')}")
    if replay.interrupts.first is not None:
        return EXIT_SIGNAL + replay.interrupts.first
    is_left = bool(replay.kept) or is_given_up or _is_in_use(source)
    return EXIT_FAILED if is_left else EXIT_OK


def _is_in_use(source: ChunkSource | LetterSource) -> bool:
    return isinstance(source, ChunkSource) and source.is_in_use


def purge_items(arguments: Namespace) -> int:
    """Remove items, after a question."""
    source = source_of(arguments, config_of(arguments))
    selection = selection_of(arguments)
    meant = [(item.path, item.n_bytes) for item in source.items() if selection.holds(item)]
    what = f"{counted(len(meant), source.noun)}, {megabytes(sum(size for _, size in meant))}"
    if meant and not arguments.yes and not _is_permitted(what):
        print("nothing is removed")
        return EXIT_FAILED
    n_removed = 0

    def visit(item: Item) -> bool:
        nonlocal n_removed
        is_meant = selection.holds(item)
        n_removed += is_meant
        return is_meant

    if meant:
        source.sift(visit)
    print(f"removed {counted(n_removed, source.noun)} of {len(meant):,}")
    return EXIT_OK if n_removed >= len(meant) else EXIT_FAILED


def _is_permitted(what: str) -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        raise UsageError(NEEDS_PERMISSION)
    return input(f"remove {what} for good? [y/N] ").strip().lower() in {"y", "yes"}
