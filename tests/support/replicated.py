"""An installation on a pair of Valkeys, behind an address that leads new connections to either."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.installation import Installation, Server
from tests.support.stack import Stack
from tests.support.tcp_proxy import RedisProxy


class Replicated(Installation):
    """API, worker and sweeper on a pair of servers; `link` is what the replica copies through."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        with contextlib.ExitStack() as made:
            self.primary, self.replica = (made.enter_context(contextlib.closing(Server(folder, n))) for n in "ab")
            self.address = made.enter_context(RedisProxy(self.primary.url))
            self.link = made.enter_context(RedisProxy(self.primary.url))
            self.replica.follow(self.link.port)
            super().__init__(folder, stack, REDIS_URL=self.address.url)
            self.close_later.push(made.pop_all())
        self.api = self.start_api()
        self.worker = self.start("workers")
        self.sweeper = self.start("workers.sweep")

    def fail_over(self) -> None:
        """Promote the replica, and lead new connections there; the old primary does not know."""
        self.primary, self.replica = self.replica, self.primary
        self.primary.promote()
        self.address.move(self.primary.url)
        self.link.move(self.primary.url)

    def cut_link(self) -> None:
        """Let nothing more of the primary reach the replica."""
        self.link.hang()

    def mend_link(self) -> None:
        """Let the replica copy the primary again."""
        self.link.close()
        self.link.resume()
        self.link.open()
        self.replica.follow(self.link.port)

    def waiting(self) -> int:
        """Count the entries of all lanes on the primary."""
        client = self.primary.client
        return sum(int(client.xlen(stream)) for stream in client.scan_iter("{lane-*}:stream"))


@contextmanager
def replicated(folder: Path, stack: Stack) -> Iterator[Replicated]:
    """Run an installation on a pair of servers until the block ends."""
    with contextlib.closing(Replicated(folder, stack)) as running:
        yield running
