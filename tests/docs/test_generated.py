"""What `make docs` generates is current, and a stale file is noticed."""

import subprocess
import sys
from pathlib import Path

import pytest

import docs
from kinesis_fast.config import option_names

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- options:begin -->\n", "<!-- options:end -->\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the generated files."""
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/api.md"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def test_the_generated_files_are_current() -> None:
    command = [sys.executable, "-P", str(ROOT / "tools" / "docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("README.md", "| `append_newline` | `false` |", "| `append_newline` | `true` |"),
        ("README.md", "| `region` | required |", "| `area` | required |"),
        ("docs/api.md", "class Response(NamedTuple):", "class Answer(NamedTuple):"),
        ("docs/api.md", "**Raises:**", "**Errors:**"),
    ],
)
def test_a_stale_file_fails_the_check_and_is_written_again(
    checkout: Path, name: str, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkout / name
    current = path.read_text()
    assert old in current
    path.write_text(current.replace(old, new))

    assert docs.main(["--check", str(checkout)]) == 1
    assert capsys.readouterr() == ("", f"{path} is stale; run `make docs`\n")
    assert path.read_text() != current

    assert docs.main([str(checkout)]) == 0
    assert capsys.readouterr() == (f"wrote {path}\n", "")
    assert path.read_text() == current


def test_only_the_text_between_the_markers_changes(checkout: Path) -> None:
    path = checkout / "README.md"
    path.write_text(f"before\n{BEGIN}old\n{END}after\n")
    assert docs.main([str(checkout)]) == 0
    before, _, rest = path.read_text().partition(BEGIN)
    table, _, after = rest.partition(END)
    assert (before, after) == ("before\n", "after\n")
    rows = [line.split("`")[1] for line in table.splitlines()[2:]]
    assert rows == option_names()


def test_a_missing_api_reference_is_stale(checkout: Path) -> None:
    (checkout / "docs" / "api.md").unlink()
    assert docs.main(["--check", str(checkout)]) == 1


def test_a_readme_without_markers_is_an_error(checkout: Path) -> None:
    (checkout / "README.md").write_text("no table here\n")
    with pytest.raises(ValueError, match="<!-- options:begin -->"):
        docs.main([str(checkout)])
    assert (checkout / "README.md").read_text() == "no table here\n"
