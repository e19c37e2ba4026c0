"""Scrapes all processes as Prometheus does, and evaluates the alert rules on what they tell."""

from __future__ import annotations

import threading
from collections import ChainMap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import promql_parser as promql
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.client import NO_TLS
from tests.support.processes import ROOT
from tests.support.promql import Series

_RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
#: Interval of scrapes in seconds; how many fit into the longest time that a rule looks back.
_STEP = 2
_LOOKED_BACK = 600 // _STEP
_TIMEOUT_SECONDS = 3

#: Name and labels of a series.
Key = tuple[str, tuple[tuple[str, str], ...]]


class Prometheus:
    """Scrapes until the block ends; before the last `forget`, nothing has changed, as far as it knows."""

    def __init__(self, targets: Callable[[], dict[str, str]]) -> None:
        """`targets` returns the job of each address."""
        self._targets = targets
        self._scrapes: list[dict[Key, float]] = []
        self._scraping = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_scraping, name="prometheus")
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False, verify=NO_TLS)

    def __enter__(self) -> Self:
        self.forget()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()

    def forget(self) -> None:
        """Begin again, with a scrape of how things are now."""
        with self._scraping:
            self._scrapes = [self._scrape()]

    def firing(self, alert: str) -> list[dict[str, str]]:
        """Return the labels with which the expression of an alert holds now; how long it has to hold is not waited."""
        expression = _expressions()[alert]
        scrapes = [*[self._scrapes[0]] * _LOOKED_BACK, *self._scrapes]
        keys = {key for scrape in self._scrapes for key in scrape if key[0] in expression}
        series = Series(
            _STEP, [(name, dict(labels), [scrape.get((name, labels)) for scrape in scrapes]) for name, labels in keys]
        )
        found: Any = series.evaluate(promql.parse(expression), (len(scrapes) - 1) * _STEP)
        return [labels for labels, _ in found]

    def _keep_scraping(self) -> None:
        while not self._ended.wait(_STEP):
            with self._scraping:
                self._scrapes = [*self._scrapes, self._scrape()]

    def _scrape(self) -> dict[Key, float]:
        targets = self._targets()
        with ThreadPoolExecutor(len(targets)) as pool:  # a process that is frozen delays only itself
            return dict(ChainMap(*pool.map(self._scrape_one, targets.keys(), targets.values())))

    def _scrape_one(self, address: str, job: str) -> dict[Key, float]:
        labels = {"job": job, "instance": urlsplit(address).netloc}
        try:
            text = self._client.get(address, headers={"Accept": "text/plain"}).text
        except httpx.HTTPError:
            return {_key("up", labels): 0.0}
        families = text_string_to_metric_families(text)
        samples = [sample for family in families for sample in family.samples]
        return {
            _key("up", labels): 1.0,
            **{_key(sample.name, {**sample.labels, **labels}): sample.value for sample in samples},
        }


def _key(name: str, labels: dict[str, str]) -> Key:
    return name, tuple(sorted(labels.items()))


@cache
def _expressions() -> dict[str, str]:
    groups = yaml.safe_load(_RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}
