"""AsyncConnector does what Connector does: the same core runs in an event loop."""

from __future__ import annotations

import asyncio
import inspect
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from inspire_ingest import (
    AsyncConnector,
    AsyncStream,
    AsyncSubmission,
    Connector,
    CredentialRefused,
    RowsRejected,
    Stream,
    Submission,
)

from tests.clients.service import LOST, Service, refused


def connector(service: Service, **options: Any) -> AsyncConnector:
    quick = httpx.AsyncHTTPTransport(verify=False)
    return AsyncConnector(service.url, "ik_test", transport=quick, **{"batch_seconds": 0.02, **options})


@pytest.mark.parametrize(
    ("one", "other"), [(Connector, AsyncConnector), (Stream, AsyncStream), (Submission, AsyncSubmission)]
)
def test_both_have_the_same_names_and_arguments(one: type, other: type) -> None:
    def signatures(of: type) -> dict[str, list[str]]:
        public = {name: value for name, value in inspect.getmembers(of, callable) if not name.startswith("_")}
        return {name: list(inspect.signature(value).parameters) for name, value in public.items()}

    assert signatures(one) == signatures(other)


def test_a_connector_does_its_work(service: Service) -> None:
    service.replies = [None, LOST, None, refused(503, "overloaded", retry_after=0)]

    record = logging.makeLogRecord({"name": "source", "msg": "from logging", "levelno": logging.INFO})

    async def work() -> None:
        async with connector(service, batch_items=10, on_rejected="collect") as ours:
            assert await ours.config(default={"poll": 1}) == {"poll": 1}
            ours.log_handler().handle(record)
            ours.log("info", "hello", n=1)
            async with ours.stream("agents") as agents:
                for number in range(55):
                    await agents.put(number, fields={"bad": 1} if number == 33 else None)
                await agents.delete(3)
            await ours.retain("agents", [1, 2], at_most=60)
            await agents.flush(wait="applied")
            assert (await ours.request(agents.result.request_ids[-1]).status()).state == "applied"
            assert (agents.result.items, agents.result.rejected_items) == (55, 1)

    asyncio.run(work())

    assert service.ids == [*(str(number) for number in range(55) if number != 33), "3"]
    assert service.retained[0]["atMost"] == 60
    assert [entry["message"] for entry in service.entries] == ["from logging", "hello"]
    assert service.bodies("/api/ingest/heartbeat")


def test_a_refused_credential_stops_everything(service: Service) -> None:
    service.replies = [refused(401, "unauthorized")] * 9

    async def work() -> None:
        async with connector(service, heartbeat_seconds=0) as ours, ours.stream("agents") as agents:
            await agents.put("a")

    with pytest.raises(CredentialRefused):
        asyncio.run(work())


def test_rejected_rows_are_raised(service: Service) -> None:
    async def work() -> None:
        async with connector(service) as ours, ours.stream("agents") as agents:
            await agents.put("a", fields={"bad": 1})
            await agents.put("b")

    with pytest.raises(RowsRejected):
        asyncio.run(work())
    assert service.ids == ["b"]


def test_an_outbox_survives_its_connector(service: Service, tmp_path: Path) -> None:
    service.replies = [refused(503, "overloaded", retry_after=60)]

    async def put(item_id: str, seconds: float) -> int:
        ours = connector(service, outbox=str(tmp_path / "outbox.db"), heartbeat_seconds=0)
        agents = ours.stream("agents")
        await agents.put(item_id)
        await agents.flush()
        return (await ours.close(seconds)).items

    assert asyncio.run(put("a", 0.2)) == 1
    assert asyncio.run(put("b", 30)) == 0
    assert service.ids == ["a", "b"]
