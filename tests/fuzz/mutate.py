"""Fuzzing without coverage: the same random inputs in every run, on any build of the package.

    python tests/fuzz/mutate.py TARGET --seconds N [--seed N] [--found DIR]
    python tests/fuzz/mutate.py TARGET FILE...       runs only these inputs

An input that fails, or that crashes the process, is left in DIR.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from random import Random

from mutations import mutated
from targets import TARGETS, Target


def main() -> None:
    """Run a target; raise its exception if an input fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--found", type=Path, default=Path("build/fuzz-found"))
    args = parser.parse_args()
    target = TARGETS[args.target]
    if args.files:
        for path in args.files:
            target.run(path.read_bytes())
        return
    args.found.mkdir(parents=True, exist_ok=True)
    current = args.found / f"{args.target}-mutated-{args.seed}"
    n_inputs = run_mutations(target, Random(args.seed), args.seconds, current)
    current.unlink()
    print(f"{args.target}: {n_inputs} inputs, nothing found")


def run_mutations(target: Target, rng: Random, seconds: float, current: Path) -> int:
    """Run the seeds and then mutations of them; write each to `current` before it runs."""
    pool = list(target.seeds())
    end = time.monotonic() + seconds
    n_inputs = 0
    with current.open("wb", buffering=0) as file:
        while n_inputs < len(pool) or time.monotonic() < end:
            data = pool[n_inputs] if n_inputs < len(pool) else mutated(rng, pool)
            file.seek(0)
            file.truncate()
            file.write(data)
            try:
                target.run(data)
            except BaseException as error:
                error.add_note(f"input {n_inputs} of this seed failed; it is in {current}")
                raise
            n_inputs += 1
    return n_inputs


if __name__ == "__main__":
    main()
