"""The command `inspire`: send files and queries, look after a connector, and judge connectors of any language."""

from .main import main

__all__ = ["main"]
