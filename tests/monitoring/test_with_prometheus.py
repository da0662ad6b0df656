"""A real Prometheus scrapes outputs, evaluates the alerts and answers the dashboard's queries."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from loopback_settings import use_made_up_settings
from monitored_load import load
from monitoring import answers, dashboard_panels
from prometheus_server import RULES, Prometheus, missing_programs
from scraping import free_port, scrape

REASON = missing_programs()
SECONDS = 12.0  # in which the service is healthy, throttles, fails and recovers
PATIENCE_S = 60.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(REASON), reason=f"no Prometheus: {REASON}"),
]


class Scraped:
    """Outputs, the Prometheus that scrapes them, and since when."""

    def __init__(self, prometheus: Prometheus, port: int, start: float) -> None:
        self.prometheus, self.port, self.start = prometheus, port, start


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """Outputs that have been scraped for a while."""
    directory, port = tmp_path_factory.mktemp("prometheus"), free_port()
    start = time.time()
    with pytest.MonkeyPatch.context() as patch:
        use_made_up_settings(patch, FLB_LOG_LEVEL="off")
        with load(directory, port, SECONDS), Prometheus(directory, [f"127.0.0.1:{port}"]) as one:
            time.sleep(SECONDS)
            yield Scraped(one, port, start)


def promtool(*arguments: str) -> str:
    """Run promtool, which has to succeed, and return what it says."""
    done = subprocess.run(
        ["promtool", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=RULES.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES.name)


def test_the_alerts_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml")


def test_each_alert_is_tested_in_both_ways() -> None:
    tests = (RULES.parent / "alerts.test.yml").read_text()
    for line in RULES.read_text().splitlines():
        if "- alert: " in line:
            alert = line.partition("- alert: ")[2]
            blocks = [block for block in tests.split("\n\n") if f"alertname: {alert}\n" in block]
            fires = {"exp_alerts: []" not in block for block in blocks}
            assert fires == {True, False}, alert


def test_the_endpoint_is_scraped(scraped: Scraped) -> None:
    (target,) = scraped.prometheus.api("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    found = scraped.prometheus.api("query", query="kinesis_fast_records_in_total > 0")["result"]
    assert {one["metric"]["stream"] for one in found} == {"app-logs", "audit"}
    assert {one["metric"]["instance"] for one in found} == {f"127.0.0.1:{scraped.port}"}


def test_each_metric_has_a_type_and_a_help(scraped: Scraped) -> None:
    metadata: dict[str, Any] = scraped.prometheus.api("metadata")
    names = {name for name in metadata if name.startswith("kinesis_fast_")}
    assert len(names) > 25
    for name in names:
        for about in metadata[name]:
            assert about["type"] in {"counter", "gauge", "histogram", "info"}, name
            assert about["help"], name


def test_promtool_has_no_complaint(scraped: Scraped) -> None:
    text = scrape(scraped.port, accept="text/plain;version=0.0.4").body
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_alerts_are_evaluated(scraped: Scraped) -> None:
    groups = scraped.prometheus.api("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == RULES.read_text().count("- alert: ")
    assert {rule["health"] for rule in rules} == {"ok"}


@pytest.mark.parametrize("panel", dashboard_panels(), ids=lambda panel: str(panel["title"]))
def test_the_dashboard_shows_something(panel: dict[str, Any], scraped: Scraped) -> None:
    drawn = answers(scraped.prometheus, panel, scraped.start, time.time(), "5s")
    assert len(drawn.series) >= len(panel["targets"])
    assert all(one.name for one in drawn.series)
    assert any(value > 0 for one in drawn.series for piece in one.pieces for _, value in piece)
