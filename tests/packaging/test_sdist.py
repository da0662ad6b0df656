"""The content of the sdist; the wheel is built from it, so it can be built."""

from pathlib import Path

from distributions import Built


def test_the_sdist_holds_all_sources_of_the_compiled_modules(built: Built) -> None:
    sources = {
        str(path.relative_to(built.source_tree))
        for path in (built.source_tree / "src_pyx").rglob("*")
        if path.is_file()
    }
    assert {".pyx", ".pxd", ".hpp"} <= {Path(name).suffix for name in sources}
    assert sources <= built.sdist.names


def test_the_sdist_holds_what_a_packager_needs(built: Built) -> None:
    for name in ("pyproject.toml", "setup.py", "Makefile", "README.md", "CHANGELOG.md", "LICENSE"):
        assert name in built.sdist.names
    tests = {
        str(path.relative_to(built.source_tree))
        for path in (built.source_tree / "tests").rglob("*")
        if path.is_file()
    }
    assert tests <= built.sdist.names


def test_nothing_that_was_built_is_in_the_sdist(built: Built) -> None:
    suffixes = {Path(name).suffix for name in built.sdist.names}
    assert suffixes.isdisjoint({".cpp", ".o", ".so", ".pyc"})
