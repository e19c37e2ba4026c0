"""Alert rules name metrics that exist and fire when, and only when, their trouble is there; so does the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from tests.support.promql import seconds, series_of

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
TESTS = ROOT / "deploy" / "prometheus" / "alerts_test.yaml"
ALERTS = {
    rule["alert"]: rule
    for group in yaml.load(RULES.read_bytes(), yaml.CSafeLoader)["groups"]
    for rule in group["rules"]
}
STEP_SECONDS = 15
#: Suffixes of the series of a histogram.
SERIES = r"_(?:bucket|sum|count)$"


def cases() -> list[Any]:
    found = yaml.load(TESTS.read_bytes(), yaml.CSafeLoader)["tests"]
    return [
        pytest.param(test, case, id=f"{case['alertname']} {case['eval_time']}")
        for test in found
        for case in test["alert_rule_test"]
    ]


@pytest.mark.parametrize(("test", "case"), cases())
def test_an_alert_fires_if_its_trouble_is_there_and_not_before(test: dict[str, Any], case: dict[str, Any]) -> None:
    rule, series = ALERTS[case["alertname"]], series_of(test["interval"], test["input_series"])
    expression, end = promql.parse(rule["expr"]), seconds(case["eval_time"])
    start = end - seconds(rule.get("for", "0s"))

    firing = [
        [{**rule["labels"], **labels} for labels, _ in series.evaluate(expression, at)]  # type: ignore[union-attr]
        for at in range(start, end + 1, STEP_SECONDS)
    ]

    expected = [alert["exp_labels"] for alert in case.get("exp_alerts", [])]
    assert all(found == expected for found in firing) if expected else [] in firing


def test_every_alert_is_tested_both_ways() -> None:
    for way in (True, False):
        assert {case.values[1]["alertname"] for case in cases() if ("exp_alerts" in case.values[1]) is way} == set(
            ALERTS
        )


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed")
def test_promtool_agrees() -> None:
    for words in (["check", "rules", RULES.name], ["test", "rules", TESTS.name]):
        ended = subprocess.run(
            ["promtool", *words], cwd=RULES.parent, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_rules_and_dashboard_name_metrics_that_are_served() -> None:
    told = set(re.findall(r"^\| `(ingest_\w+)`", (ROOT / "docs" / "metrics.md").read_text("utf-8"), re.MULTILINE))
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text("utf-8"))
    expressions = [rule["expr"] for rule in ALERTS.values()]
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]

    named = set()
    for expression in expressions:
        promql.parse(expression.replace("$__rate_interval", "5m"))
        named |= {re.sub(SERIES, "", name) for name in re.findall(r"\bingest_\w+", expression)}

    assert named - told == set()
