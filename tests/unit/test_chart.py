"""The Helm chart: rendered by Helm itself for each shape of Redis, and checked against the schemas of Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # it has no types
import pytest
import yaml
from helm_python.chart import Chart, lint
from helm_python.errors import HelmError

from shared.process.settings import REGISTER
from shared.redis.addresses import read_address

CHART = Path(__file__).parents[2] / "deploy" / "chart"
SHAPES = sorted(path.stem for path in (CHART / "shapes").iterdir())
#: The oldest one that Chart.yaml allows, and the newest one whose schemas the package has.
VERSIONS = ("1.30", "1.37")
#: Everything that is off by default.
ALL = {
    "processes": {"console": {"replicas": 1}},
    "canary": {"enabled": True},
    "workerAutoscaling": {"enabled": True},
    "apiAutoscaling": {"enabled": True},
}


def values(shape: str) -> dict[str, Any]:
    return {**yaml.safe_load((CHART / "shapes" / f"{shape}.yaml").read_text()), **ALL}


@cache
def documents(shape: str) -> list[dict[str, Any]]:
    with Chart.load(CHART) as chart:
        rendered = chart.render(values(shape), name="ingest", namespace="default")
    return [one for text in rendered.values() for one in yaml.safe_load_all(text) if one]


def of_kind(kind: str, shape: str = "one-server") -> dict[str, Any]:
    return {one["metadata"]["name"]: one["spec"] for one in documents(shape) if one["kind"] == kind}


def pods(shape: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("Deployment", "Job"):
        for name, spec in of_kind(kind, shape).items():
            yield name, spec["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_document_has_the_form_that_kubernetes_asks_for(shape: str, version: str) -> None:
    built_in = [one for one in documents(shape) if one["kind"] != "ScaledObject"]  # which is KEDA's

    for one in built_in:
        kubernetes_validate.validate(one, version, strict=True)
    assert len(built_in) == len(documents(shape)) - 1


def test_a_misspelt_member_would_be_found() -> None:
    deployment = next(one for one in documents("cluster") if one["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    misspelt = {**container, "livenesProbe": {}}
    wrong = {**deployment, "spec": {**deployment["spec"], "template": {"spec": {"containers": [misspelt]}}}}

    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_helm_finds_no_fault(shape: str) -> None:
    found = lint(CHART, values(shape), strict=True)

    assert [one["error"] for one in found["messages"]] == ["icon is recommended"]


def test_a_chart_without_a_shape_is_refused() -> None:
    with Chart.load(CHART) as chart, pytest.raises(HelmError, match="shapes/"):
        chart.render({})


def test_every_pod_has_the_least_rights() -> None:
    for name, pod in pods("one-server"):
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert not pod["automountServiceAccountToken"], name
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert container["resources"]["limits"]["memory"], name
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name


@pytest.mark.parametrize("shape", SHAPES)
def test_addresses_have_the_passwords_of_their_process_only(shape: str) -> None:
    for name, pod in pods(shape):
        if name == "ingest-canary":
            assert "URL" not in repr(pod), "it knows no engine"
            continue
        given: dict[str, str] = {}
        for one in pod["containers"][0]["env"]:
            text = one.get("value", "")
            assert set(re.findall(r"\$\((\w+)\)", text)) <= given.keys(), (name, one)  # Kubernetes expands earlier ones
            assert text.count(":$(") == text.count("@"), "no password among the values"
            given[one["name"]] = text
        assert ("POSTGRES_OWNER_PASSWORD" in given) == (name != "ingest-api")
        assert ("POSTGRES_API_PASSWORD" in given) == (name == "ingest-api")
        assert ("QUEUE_REDIS_URL" in given) == (shape == "cluster")
        assert read_address(given["REDIS_URL"]).is_cluster == (shape == "cluster")


def test_variables_are_settings() -> None:
    known = {name for name, *_ in REGISTER}
    given = {one["name"] for _, pod in pods("cluster") for one in pod["containers"][0]["env"] if "value" in one}

    assert given <= known


def test_every_process_can_be_started_and_asked() -> None:
    for name, spec in of_kind("Deployment").items():
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        commands = [container["command"]]
        probes = [one for key, one in container.items() if key.endswith("Probe")]
        commands += [one["exec"]["command"] for one in probes if "exec" in one]
        assert len(probes) >= 2, name
        assert ("lifecycle" in container) == (name in ("ingest-api", "ingest-console")), name
        for words in commands:
            assert words[:2] == ["python", "-m"], name
            assert find_spec(words[2]), name


def test_services_budgets_and_policies_select_the_pods() -> None:
    labels = {name: spec["template"]["metadata"]["labels"] for name, spec in of_kind("Deployment").items()}
    ports = {name: {one["name"] for one in pod["containers"][0].get("ports", [])} for name, pod in pods("one-server")}

    budgets = {name: spec["selector"]["matchLabels"] for name, spec in of_kind("PodDisruptionBudget").items()}
    assert budgets == {name: label for name, label in labels.items() if name != "ingest-canary"}
    for name, spec in of_kind("Service").items():
        assert spec["selector"] == labels[name]
        assert {port["targetPort"] for port in spec["ports"]} <= ports[name]
    policies = of_kind("NetworkPolicy")
    assert all(labels[name].items() >= policies["ingest"]["podSelector"]["matchLabels"].items() for name in labels)
    assert {port["port"] for port in policies["ingest-clients"]["ingress"][0]["ports"]} == set.union(*ports.values())


def test_workers_are_scaled_by_a_metric_that_there_is() -> None:
    (scaled,) = of_kind("ScaledObject", "cluster").values()
    (trigger,) = scaled["triggers"]
    metric = re.search(r"\w+_seconds", trigger["metadata"]["query"])

    assert metric
    assert f'"{metric[0]}"' in (CHART.parents[1] / "ingest_api" / "metrics.py").read_text()
    assert scaled["scaleTargetRef"]["name"] in of_kind("Deployment", "cluster")
    assert scaled["maxReplicaCount"] == values("cluster")["lanes"]
    assert "replicas" not in of_kind("Deployment", "cluster")["ingest-worker"]
