"""Coverage-guided fuzzing with libFuzzer (through atheris) on the `fuzz` build.

    python tests/fuzz/guided.py TARGET --corpus DIR [libFuzzer's options]

libFuzzer's runtime with ASan must be preloaded; `make fuzz` does everything. Inputs that reach new
code are added to the corpus. Inputs that fail are written to the path in -artifact_prefix.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import atheris

MAX_BYTES = 2000  # limit for an input; enough for a full request and the start of the next

with atheris.instrument_imports(include=["kinesis_fast"]):
    from targets import TARGETS, Target


def main() -> None:
    """Run a target until libFuzzer ends the process."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--corpus", type=Path, required=True)
    args, options = parser.parse_known_args()
    target = TARGETS[args.target]
    write_seeds(target, args.corpus)
    atheris.Setup(
        ["guided.py", f"-max_len={MAX_BYTES}", "-timeout=20", *options, str(args.corpus)],
        target.run,
    )
    atheris.Fuzz()


def write_seeds(target: Target, corpus: Path) -> None:
    """Write the seeds to the corpus under the names that libFuzzer would use."""
    corpus.mkdir(parents=True, exist_ok=True)
    for data in target.seeds():
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    main()
