"""The lists of faults in tests/mutants/*.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
LISTS = TREE / "tests" / "mutants"
PACKAGE = "kinesis_fast"
KEYS = {"name", "file", "old", "new", "tests"}


class InvalidError(Exception):
    """Why a fault cannot be tried."""


@dataclass(frozen=True)
class Fault:
    """One entry of a list; room is the name of the list."""

    room: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def is_compiled(self) -> bool:
        """Whether the package has to be built again."""
        return self.file.startswith("src_pyx/")

    def matches(self, text: str | None) -> bool:
        """Whether the text, if any, is the fault's room or part of its name."""
        return text is None or text == self.room or text in self.name

    def changed_text(self) -> str:
        """Return the faulty text of the whole file; raises InvalidError."""
        if not self.file.startswith((f"{PACKAGE}/", "src_pyx/")):
            raise InvalidError(f"{self.file} is not below {PACKAGE}/ or src_pyx/")
        path = TREE / self.file
        if not path.is_file():
            raise InvalidError(f"there is no {self.file}")
        text = path.read_text()
        if text.count(self.old) != 1:
            count = text.count(self.old)
            raise InvalidError(f"`old` occurs {count} times in {self.file}; it must occur once")
        if self.old == self.new:
            raise InvalidError("`new` equals `old`")
        changed = text.replace(self.old, self.new)
        if path.suffix == ".py":
            try:
                compile(changed, self.file, "exec", dont_inherit=True)
            except SyntaxError as error:
                raise InvalidError(f"{self.file} has a syntax error then: {error}") from error
        return changed

    def description(self) -> str:
        """Return the place and the change, for a reader who has to write a test."""
        text = (TREE / self.file).read_text()
        line = text[: text.index(self.old)].count("\n") + 1
        changes = [f"- {part}" for part in self.old.splitlines()]
        changes += [f"+ {part}" for part in self.new.splitlines()]
        lines = [f"{self.file}:{line}", *changes, f"these pass with it: {' '.join(self.tests)}"]
        return "".join(f"    {text}\n" for text in lines)


def load(directory: Path) -> list[Fault]:
    """Read all lists of a directory; raises InvalidError."""
    faults: list[Fault] = []
    for path in sorted(directory.glob("*.toml")):
        try:
            tables = tomllib.loads(path.read_text()).get("fault", [])
        except tomllib.TOMLDecodeError as error:
            raise InvalidError(f"{path}: {error}") from error
        for table in tables:
            name = f"{path}: fault {table.get('name', '')!r}"
            if set(table) != KEYS:
                raise InvalidError(f"{name} has to have these keys: {', '.join(sorted(KEYS))}")
            if not table["tests"]:
                raise InvalidError(f"{name} names no tests")
            faults.append(Fault(path.stem, **{**table, "tests": tuple(table["tests"])}))
    names = [fault.name for fault in faults]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise InvalidError(f"several faults have the name {', '.join(sorted(repeated))}")
    return faults
