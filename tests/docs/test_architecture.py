"""docs/architecture.md names every module, names no other, and is right about the imports."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kinesis_fast"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
ANY_ROOM = "everything but"
COMPILED = ROOT / "src_pyx/kinesis_fast"
FOLDERS = {  # without an __init__.py
    "src_pyx/kinesis_fast/",
    "src_pyx/kinesis_fast/_core/",
    "src_pyx/kinesis_fast/delivery/",
    "src_pyx/kinesis_fast/transport/direct/",
    "src_pyx/host/",
}


def tree() -> dict[str, str]:
    """Return path and description of each line of the page's tree."""
    lines = PAGE.partition("```text\n")[2].partition("```")[0].splitlines()
    parents: list[str] = []
    described = {}
    for line in lines:
        name, _, text = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        path = "".join([*parents[:depth], name])
        if name.endswith("/"):
            parents[depth:] = [name]
        described[path] = text.strip()
    return described


def sources() -> set[str]:
    """Return the paths that the tree has to name; a package stands for its __init__.py."""
    files = [*PACKAGE.rglob("*.py"), *COMPILED.rglob("*.pyx")]
    files += (ROOT / "src_pyx/host").glob("*.c")
    files += [
        path
        for path in COMPILED.rglob("*.pxd")
        if not path.with_suffix(".pyx").exists() and path.stem != "__init__"
    ]
    return {str(path.relative_to(ROOT)).removesuffix("__init__.py") for path in files}


def imports(path: Path) -> Iterator[str]:
    """Yield the modules of this package that a file imports, without its name in front."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "kinesis_fast":
            names = [f"kinesis_fast.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        for name in names:
            if name.startswith("kinesis_fast."):
                yield name.removeprefix("kinesis_fast.")


def room_of(path: Path) -> str:
    """Return the room that a file is in, as the page's table calls it."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "kinesis_fast" if first == "__init__" else first


def allowed() -> dict[str, set[str] | None]:
    """Return what each room may import; None: anything."""
    table = PAGE.partition("| room | may import |")[2].partition("\n\n")[0]
    rules: dict[str, set[str] | None] = {}
    for row in table.splitlines()[2:]:
        rooms, may = (re.findall(r"`(\w+)`", cell) for cell in row.strip("|").split("|"))
        for room in rooms:
            rules[room] = None if ANY_ROOM in row else set(may)
    return rules


def test_the_tree_names_each_module_and_nothing_else() -> None:
    assert tree().keys() - FOLDERS == sources()


def test_the_tree_says_what_each_module_is() -> None:
    assert {path for path, text in tree().items() if not text} == FOLDERS


def test_the_files_that_the_text_names_exist() -> None:
    text = "".join(PAGE.split("```")[::2])
    named = set(re.findall(r"`([\w./-]+\.(?:py|pyx|pxd|c|md))`", text))
    places = [ROOT, PACKAGE, PACKAGE / "delivery", ROOT / "src_pyx/host"]
    places += [COMPILED, COMPILED / "_core", COMPILED / "delivery"]
    missing = {name for name in named if not any((place / name).is_file() for place in places)}
    assert len(named) > 30
    assert missing == set()


def test_rooms_import_only_what_the_table_allows() -> None:
    rules = allowed()
    assert {room_of(path) for path in PACKAGE.rglob("*.py")} == rules.keys()
    wrong = set()
    for path in PACKAGE.rglob("*.py"):
        room = room_of(path)
        may = rules[room]
        for name in imports(path):
            other = name.partition(".")[0]
            if other in rules and other != room and may is not None and other not in may:
                wrong.add(f"{path.relative_to(ROOT)} imports {other}")
    assert wrong == set()


def test_the_table_allows_nothing_that_no_module_needs() -> None:
    used: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        used.setdefault(room_of(path), set()).update(n.partition(".")[0] for n in imports(path))
    unused = {
        f"{room} does not import {other}"
        for room, may in allowed().items()
        for other in (may or set()) - used.get(room, set())
    }
    assert unused == set()


def test_the_table_has_no_circle() -> None:
    order = list(allowed())
    upward = {
        f"{room} imports {other}, which stands below it"
        for room, may in allowed().items()
        for other in may or ()
        if order.index(other) > order.index(room)
    }
    assert upward == set()
