"""`kinesis-fast plan` as its user sees it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chunks import chunk_of
from command import run_command

from kinesis_fast import OutputConfig


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "app.msgpack"
    path.write_bytes(
        chunk_of({"host": f"host-{n % 9}", "text": f"<b>{n}</b>" * 20} for n in range(400))
    )
    return path


class Page(HTMLParser):
    """Counts the elements of a page, and checks that each one is closed."""

    VOID = ("meta", "line", "rect", "polyline")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        assert not {"src", "href", "onload"} & dict(attrs).keys(), "it needs something else"
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def section_of(output: str) -> dict[str, str]:
    """Return the options of the recommended section, which a plan ends with."""
    lines = output.rpartition("[OUTPUT]\n")[2].splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


def test_it_ends_with_a_section_that_works(sample: Path) -> None:
    done = run_command("plan", str(sample), "--rate", "5MB/s", options={"partition_key": "host"})
    assert done.returncode == 0
    assert done.stderr == ""
    section = section_of(done.stdout)
    assert section.pop("Name") == "kinesis"
    assert section.pop("Match") == "*"
    assert section["partition_key"] == "host"
    OutputConfig.from_options(section | {"region": "us-east-1"})


def test_each_way_is_a_row(sample: Path) -> None:
    done = run_command("plan", str(sample), "--rate", "100/s")
    for way in ("random key", "random key, gzip", "host", "host, aggregation"):
        assert re.search(rf"^{way}  +[0-9.]", done.stdout, re.MULTILINE)
    assert "400 records in" in done.stdout
    assert "100 records/s in the logs" in done.stdout
    assert 'hottest keys of host: "host-' in done.stdout
    assert "month" not in done.stdout
    assert "partition_key" not in section_of(done.stdout)


def test_prices_make_money(sample: Path) -> None:
    prices = ("--price-put-unit", "0.01", "--price-shard-hour", "0.02", "--price-gb", "0.1")
    done = run_command("plan", str(sample), *prices)
    assert re.search("provisioned/month +on demand/month", done.stdout)


@pytest.mark.parametrize("input_format", ["lines", "jsonl"])
def test_other_formats_from_stdin(input_format: str) -> None:
    text = "".join(json.dumps({"n": n}) + "\n" for n in range(20))
    done = run_command("plan", "--format", input_format, stdin=text.encode())
    assert done.returncode == 0
    assert "20 records in 0" not in done.stdout
    assert done.stdout.startswith("20 records in")


def test_the_report_is_one_page_without_anything_else(sample: Path, tmp_path: Path) -> None:
    report = tmp_path / "plan.html"
    key = "<script>alert(1)</script>"
    sample.write_bytes(chunk_of([{"host": key, "n": n} for n in range(50)]))
    done = run_command(
        "plan", str(sample), "--report", str(report), options={"partition_key": "host"}
    )
    assert done.returncode == 0
    text = report.read_text(encoding="utf-8")
    page = Page(text)
    assert page.counts["svg"] == 5
    assert page.counts["table"] == 1
    assert page.counts["polyline"] == 2
    assert "script" not in page.counts
    assert any(key[:20] in shown for shown in page.texts)
    assert section_of(done.stdout)["stream"] in text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_records_that_are_left_out_are_named(tmp_path: Path) -> None:
    path = tmp_path / "app.msgpack"
    path.write_bytes(chunk_of([{"a": 1}, {"b": 2}]))
    done = run_command("plan", str(path), options={"log_key": "a"})
    assert "skipped no log key: 1 records of the sample" in done.stdout


def test_a_bad_line_is_reported() -> None:
    done = run_command("plan", "--format", "jsonl", stdin=b'{"a":1}\nno json\n')
    assert done.returncode == 1
    assert "line 2: " in done.stderr
    assert "1 line of the sample cannot be sent" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rate", "5 furlongs"], "is not a rate; allowed: 5MB/s, 300kB/s, 2000/s"),
        (["--rate", "0MB/s"], "is not a rate"),
        (["--price-gb", "-1"], "is not a price"),
        (["--price-gb", "nan"], "is not a price"),
        (["--sample-mb", "0"], "whole number >= 1"),
        (["-p", "compression_level=99", "-p", "time_zone=x"], "option time_zone"),
        (["--report", "/no/such/directory/plan.html"], "cannot write /no/such/directory/plan.html"),
        (["-p", "log_key=missing"], "no record of the sample can be sent: skipped no log key: 400"),
    ],
)
def test_wrong_use(sample: Path, arguments: list[str], expected: str) -> None:
    done = run_command("plan", str(sample), *arguments)
    assert done.returncode == 2
    assert expected in done.stderr


def test_an_empty_sample() -> None:
    done = run_command("plan", stdin=b"")
    assert done.returncode == 2
    assert "the sample is empty" in done.stderr
