"""Peers: stacks that a team would use instead, each written as its community recommends, on the same engines and table.

`peer.py` says what a peer is and how a harness runs one; `catalog.py` lists them. Each folder below is a project of its
own, with its own pinned dependencies and its own README: it imports nothing of this repository.
"""

from benchmarks.peers.catalog import PEERS
from benchmarks.peers.peer import Peer, PeerProcess

__all__ = ["PEERS", "Peer", "PeerProcess"]
