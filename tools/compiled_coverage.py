"""Prints which lines of the .pyx, .pxd and C++ sources the tests ran, from a coverage build.

    python tools/compiled_coverage.py BUILD_DIRECTORY      (in the root of the source tree)

gcov knows a Cython file by its place in the package (`kinesis_fast/_core/name.pyx`), and counts
the inline code of a .pxd file or header in every module that uses it: here it is added up by file.
Lines that no `#line` of the generated C++ names are left out: gcov means code without a source.
"""

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

SOURCES = Path("src_pyx")
LINE_DIRECTIVE = re.compile(r'^#line (\d+) "([^"]+)"$', re.MULTILINE)

Counts = dict[Path, Counter[int]]  # source file -> line -> how often it was run


def read_counts(build_directory: Path) -> Counts:
    """Add up what gcov says of all compiled modules below a directory."""
    named = named_lines(build_directory)
    counts: Counts = defaultdict(Counter)
    for file in gcov_files(build_directory):
        path = source_path(file["file"])
        if path is not None:
            for line in file["lines"]:
                number = line["line_number"]
                if path not in named or number in named[path]:
                    counts[path][number] += line["count"]
    return counts


def named_lines(build_directory: Path) -> dict[Path, set[int]]:
    """Read from the generated C++ which lines of which Cython files have code."""
    named: dict[Path, set[int]] = defaultdict(set)
    for generated in build_directory.rglob("*.cpp"):
        for number, name in LINE_DIRECTIVE.findall(generated.read_text()):
            named[SOURCES / name].add(int(number))
    return named


def gcov_files(build_directory: Path) -> Iterator[dict[str, Any]]:
    """Run gcov on every module; yields its entry for each file that went into one."""
    for data in build_directory.rglob("*.gcda"):
        command = ["gcov", "--json-format", "--stdout", str(data)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for report in done.stdout.splitlines():
            yield from json.loads(report)["files"]


def source_path(name: str) -> Path | None:
    """The source file that gcov means, or None for system headers and generated code."""
    for path in (Path(name), SOURCES / name):
        if path.is_relative_to(SOURCES) and path.is_file():
            return path
    return None


def table(counts: Counts) -> Iterator[str]:
    """A line for each file, and one for all."""
    yield f"{'file':44} {'lines':>6} {'missed':>6} {'run':>6}  not run"
    n_lines = n_missed = 0
    for path, lines in sorted(counts.items()):
        missed = sorted(number for number, count in lines.items() if count == 0)
        n_lines += len(lines)
        n_missed += len(missed)
        yield row(str(path), len(lines), len(missed), ", ".join(ranges(missed)))
    yield row("all compiled lines", n_lines, n_missed, "")


def row(name: str, n_lines: int, n_missed: int, missed: str) -> str:
    """One line of the table."""
    share = 100 * (n_lines - n_missed) / n_lines
    return f"{name:44} {n_lines:6} {n_missed:6} {share:5.1f}%  {missed}".rstrip()


def ranges(numbers: list[int]) -> Iterator[str]:
    """Ascending line numbers, written shortly: 1-3, 7."""
    starts = [after for before, after in pairwise([-1, *numbers]) if after != before + 1]
    ends = [before for before, after in pairwise([*numbers, sys.maxsize]) if after != before + 1]
    for start, end in zip(starts, ends, strict=True):
        yield str(start) if start == end else f"{start}-{end}"


def main() -> None:
    """Print the table for the directory on the command line."""
    counts = read_counts(Path(sys.argv[1]))
    if not counts:
        sys.exit(f"no counts below {sys.argv[1]}: run the tests on a coverage build first")
    print("\n".join(table(counts)))


if __name__ == "__main__":
    main()
