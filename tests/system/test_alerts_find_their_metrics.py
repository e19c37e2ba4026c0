"""Alert rules and dashboard name what the processes of an installation serve: metrics, labels and their values."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.client import NO_TLS, Connector, assert_refused
from tests.support.processes import ROOT, PreloadedPython, free_port
from tests.support.stack import Stack

#: A selector, with what it asks of labels.
SELECTOR = re.compile(r"\b(ingest_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(?:=~?|!=)"([^"]*)"')
#: Values of these labels appear with the first request that has them.
OF_REQUESTS = {"status", "code", "route"}
#: Only a cluster has nodes.
OF_CLUSTERS = {"ingest_redis_node_up", "ingest_lane_up"}


def expressions() -> Iterator[str]:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
    yield from (target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", []))


def scrape(*ports: str) -> dict[str, dict[str, set[str]]]:
    """Return the values of each label of each series that processes serve."""
    served: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for port in ports:
        text = httpx.get(f"{port}/metrics", headers={"Accept": "text/plain"}, verify=NO_TLS, trust_env=False).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                served[sample.name]  # known, even without labels
                for label, value in sample.labels.items():
                    served[sample.name][label].add(value)
    return served


def test_every_rule_and_every_panel_finds_its_metrics(
    workerless: Stack, new_connector: Callable[..., Connector], tmp_path: Path
) -> None:
    connector = new_connector(workerless)
    assert_refused(connector.post(b"[]"), 409, "wrong_type", "$")
    ports = [free_port() for _ in range(3)]
    with ExitStack() as processes:
        engines = {"DATABASE_URL": workerless.database_url, "REDIS_URL": workerless.redis_url}
        sweeper = PreloadedPython("workers.sweep", folder=tmp_path, **engines, METRICS_PORT=ports[0])
        canary = PreloadedPython(
            "operations.canary",
            folder=tmp_path,
            CANARY_KEY=connector.credential,
            DATAPOOL_ADDRESS=connector.url,
            METRICS_PORT=ports[1],
        )
        for process in (sweeper, canary, workerless.worker(METRICS_PORT=ports[2])):
            processes.enter_context(process).says("metrics_served")
        served = scrape(workerless.url, *(f"http://127.0.0.1:{port}" for port in ports))

    missing = set()
    for expression in expressions():
        grouped = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(",")}
        for name, matchers in SELECTOR.findall(expression):
            if name in OF_CLUSTERS:
                continue
            asked = dict(MATCHER.findall(matchers))
            missing |= {(name, "") for _ in (1,) if name not in served}
            missing |= {(name, label) for label in (asked.keys() | grouped) - served[name].keys() - {"instance", "job"}}
            for label in asked.keys() - OF_REQUESTS:
                missing |= {(name, value) for value in asked[label].split("|") if value not in served[name][label]}
    assert missing == set()
