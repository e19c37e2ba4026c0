"""The tables as models of SQLAlchemy."""

from __future__ import annotations

import os
from functools import cache

from sqlalchemy import BigInteger, DateTime, Engine, Text, create_engine, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All of them are in one schema."""

    __table_args__ = {"schema": "peers"}  # noqa: RUF012 - SQLAlchemy's own form


class Connector(Base):
    """A connector with its key."""

    __tablename__ = "connectors"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    key_hash: Mapped[str] = mapped_column(Text)


class Item(Base):
    """The last state of an item."""

    __tablename__ = "items"
    connector_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    stream: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str | None] = mapped_column(Text)
    fields: Mapped[dict[str, object]] = mapped_column(JSONB)
    tags: Mapped[dict[str, object]] = mapped_column(JSONB)
    version: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[object] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Request(Base):
    """A submission that was applied."""

    __tablename__ = "requests"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    connector_id: Mapped[int] = mapped_column(BigInteger)
    items: Mapped[int]


@cache
def engine() -> Engine:
    """Return the engine of the process, made on first use: after the worker forked."""
    return create_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1), pool_size=2)
