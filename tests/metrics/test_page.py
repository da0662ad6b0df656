"""docs/metrics.md describes each metric, each alert and each option, and nothing else."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from kinesis_fast.config import option_names
from kinesis_fast.metrics.families import Collector
from kinesis_fast.metrics.shown import Registry

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
TABLES = PAGE.partition("## The metrics")[2]


def test_the_tables_have_a_row_for_each_metric() -> None:
    collectors = CollectorRegistry()
    collectors.register(Collector(Registry()))
    text = generate_latest(collectors).decode()
    names = set(re.findall(r"^# TYPE kinesis_fast_(\w+) ", text, re.M))
    described = re.findall(r"^\| `(\w+?)(?:\{[^`]*\})?` \|", TABLES.partition("## Alerts")[0], re.M)
    assert set(described) == names
    assert len(names) > 30


def test_the_table_has_a_row_for_each_alert() -> None:
    rules = (ROOT / "docs" / "monitoring" / "alerts.yml").read_text()
    described = re.findall(r"^\| `(\w+)` \|", TABLES.partition("## Alerts")[2], re.M)
    assert described == re.findall(r"- alert: (\w+)", rules)


def test_the_options_exist() -> None:
    named = re.findall(r"^\| `(\w+)` \| `", PAGE.partition("## The address")[0], re.M)
    assert named == ["metrics_listen", "metrics_file", "stats_interval"]
    assert set(named) <= set(option_names())
