"""`kinesis-fast spool replay` and `purge`: remove items that are delivered or not wanted."""

import sys
from collections import Counter
from dataclasses import replace

from kinesis_fast.cli.awaited_output import AwaitedOutput
from kinesis_fast.cli.common import Exit, Interrupts, UsageError, complain, counted, megabytes
from kinesis_fast.cli.spool.items import OTHER_OPTIONS, OTHER_STREAM, SENDABLE, Item, Task


class Replay:
    """One run of `replay`.

    Args:
        task: what to send.
        output: where to.
    """

    def __init__(self, task: Task, output: AwaitedOutput) -> None:
        self.n_done = 0
        self.kept: Counter[str] = Counter()  # by reason
        self.totals: Counter[str] = Counter()  # records, by what became of them
        self.interrupts = Interrupts()
        self._output = output
        self._task = task

    def visit(self, item: Item) -> bool:
        """Send an item. Returns whether it can be removed."""
        if not self._task.selection.holds(item):
            return False
        reason = self._reason_to_keep(item)
        if reason:
            self.kept[reason] += 1
            return False
        self.n_done += 1
        return True

    def _reason_to_keep(self, item: Item) -> str:
        is_other = item.state in {OTHER_OPTIONS, OTHER_STREAM}
        if item.state not in SENDABLE or (is_other and not self._task.arguments.other_options):
            return item.state
        if self.interrupts or self._output.is_stuck:
            return "not tried"
        payload = item.unsettled
        return self._send(payload, item.tag) if payload else ""

    def _send(self, payload: bytes, tag: str) -> str:
        before = self._output.stats()
        self._output.send(payload, tag, once=self._task.source.is_one_record)
        self._output.wait()
        outcome = Counter(self._output.stats())
        outcome.subtract(before)
        self.totals.update(outcome)
        if outcome["dead"]:
            return "refused or given up"
        if outcome["returned"] or outcome["pending"]:
            return "not delivered"
        if self._task.source.is_one_record and not outcome["delivered"]:
            return "skipped again"
        return ""


def replay_items(task: Task) -> int:
    """Send items, remove those that were delivered, and say which stay."""
    if task.config is None:
        raise UsageError("replay needs the options of an output: -p region=... -p stream=...")
    source = task.source
    # A letter is one record: when it fails, nothing of it has arrived.
    config = replace(
        task.config,
        experimental_concurrency=0 if source.is_one_record else 1,
        spool_dir=None,  # what cannot be sent stays where it is
        dead_letter_dir=None,
    )
    with AwaitedOutput(config, task.arguments.patience) as output:
        replay = Replay(task, output)
        with replay.interrupts:
            source.sift(replay.visit)
        if output.is_stuck:
            complain(f"no record was delivered for {task.arguments.patience} s, so sending stops")
    print(f"{counted(replay.n_done, source.noun)} done and removed")
    for reason, number in replay.kept.items():
        print(f"{counted(number, source.noun)} kept: {reason}")
    for share in ("skipped", "dead", "returned"):
        if replay.totals[share]:
            print(f"{counted(replay.totals[share], 'record')} {share}")
    print(f"delivered {counted(replay.totals['delivered'], 'record')}")
    return replay.interrupts.exit_code(is_complete=not (replay.kept or source.is_in_use))


def purge_items(task: Task) -> int:
    """Remove items, after asking."""
    source, selection = task.source, task.selection
    sizes = [item.n_bytes for item in source.items() if selection.holds(item)]
    what = f"{counted(len(sizes), source.noun)}, {megabytes(sum(sizes))}"
    if sizes and not task.arguments.yes and not _is_permitted(what):
        print("nothing was removed")
        return Exit.FAILED
    n_removed = 0

    def visit(item: Item) -> bool:
        nonlocal n_removed
        is_meant = selection.holds(item)
        n_removed += is_meant
        return is_meant

    if sizes:
        source.sift(visit)
    print(f"removed {counted(n_removed, source.noun)} of {len(sizes):,}")
    return Exit.OK if n_removed >= len(sizes) else Exit.FAILED


def _is_permitted(what: str) -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        raise UsageError("purge cannot be undone: give --yes, or run it on a terminal")
    return input(f"remove {what} permanently? [y/N] ").strip().lower() in {"y", "yes"}
