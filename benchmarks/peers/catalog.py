"""The peers: the name of each, the durability of its 202, and its processes. Each folder's README gives the reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.peers.environments import NodeModules, VirtualEnvironment
from benchmarks.peers.peer import Command, Peer

_HERE: Final = Path(__file__).resolve().parent
_UVICORN: Final = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")


def _fastapi_celery() -> Peer:
    installed = VirtualEnvironment(_HERE / "fastapi_celery")

    def commands(port: int, workers: int) -> list[Command]:
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")
        worker = (installed.python, "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork")
        return [
            Command("api", (installed.python, "-m", "uvicorn", "api:app", "--port", str(port), *_UVICORN)),
            Command("worker", (*worker, "--concurrency", str(workers), *quiet)),
        ]

    return Peer(
        name="fastapi_celery",
        title="FastAPI + Celery (Redis) + SQLAlchemy",
        durability=(
            "The 202 waits for Celery's LPUSH, which is fsynced; but the worker's pop and its note of what it popped "
            "are two commands, so that a worker killed between them loses a task, and one killed later gives it back "
            "only after the visibility timeout (an hour)."
        ),
        cwd=installed.project,
        environment=installed,
        commands=commands,
    )


def _fastify_bullmq() -> Peer:
    installed = NodeModules(_HERE / "fastify_bullmq")

    def commands(port: int, workers: int) -> list[Command]:
        return [
            Command("api", (installed.node, "api.js"), {"PORT": str(port), "NODE_ENV": "production"}),
            *(
                Command(f"worker-{number}", (installed.node, "worker.js"), {"NODE_ENV": "production"})
                for number in range(1, workers + 1)
            ),
        ]

    return Peer(
        name="fastify_bullmq",
        title="Fastify + BullMQ + pg",
        durability=(
            "The 202 waits for BullMQ's add script, which is fsynced; jobs move between lists atomically, and those of "
            "a killed worker are given back when their lock is over (30 s) and a stalled check runs, once only."
        ),
        cwd=installed.folder,
        environment=installed,
        commands=commands,
    )


def _starlette_rq() -> Peer:
    installed = VirtualEnvironment(_HERE / "starlette_rq")

    def commands(port: int, workers: int) -> list[Command]:
        return [
            Command("api", (installed.python, "-m", "uvicorn", "api:app", "--port", str(port), *_UVICORN)),
            *(Command(f"worker-{number}", (installed.python, "worker.py")) for number in range(1, workers + 1)),
        ]

    return Peer(
        name="starlette_rq",
        title="Starlette + RQ, a job a request + psycopg",
        durability=(
            "The 202 waits for RQ's enqueue, which is fsynced; the job of a killed worker is found by a maintenance "
            "task minutes later and run again as often as its retries allow."
        ),
        cwd=installed.project,
        environment=installed,
        commands=commands,
    )


PEERS: Final[tuple[Peer, ...]] = (_fastapi_celery(), _fastify_bullmq(), _starlette_rq())
