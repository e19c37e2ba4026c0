"""Statements have a form that is legal if the large tables are distributed by `connector_id`, as Citus does.

Parsed by Postgres' own parser. Where a large table is read or written, its `connector_id` is bound: to a value, or to
that of something else in the statement, so that a node can answer for its part alone. No such cluster was run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pglast
import pytest
from pglast import ast
from pglast.enums import A_Expr_Kind, BoolExprType, ConstrType

from shared.postgres.migrations import available
from shared.postgres.queries import queries

#: Tables that would be distributed. Each node would have a copy of all others.
LARGE = {
    *("items", "receipts", "dead_letters", "connector_logs", "deletions", "retains", "retained_ids"),
    *("connector_liveness", "connector_configurations"),
}
#: Parts of statements, which are checked where they are included.
FRAGMENTS = {
    *("connectors_as_operators_see_them", "is_selected", "is_overtaken", "others", "traffic_sums", "unlocked_letters"),
    "wanted_refusals",
}
#: Statements that ask every node, which is legal if they only read; and why they do.
ASKS_ALL = {
    "select_letters_to_retry": "a drain, by an index that is empty as a rule",
    "select_dead_letters": "operators",
    "select_dead_letter": "operators, who have a request id alone",
    "select_dead_letter_groups": "operators",
    "select_dead_letter_keys": "operators",
    "count_dead_letters": "operators",
    "select_submission": "operators, who have a request id alone",
    "select_connectors": "operators",
    "select_some_connectors": "operators",
    "count_dead_by_connector": "operators",
    "select_newest_outcomes": "operators",
    "count_waiting_letters": "the sweeper, at each scrape of its metrics",
    "select_traffic": "operators",
}
#: Statements that would need another form there; and why.
NOT_LEGAL = {
    "select_lanes_to_retry": "a recursive question can't be put to several nodes",
    "find_items": "the same",
    "request_retries": "rows of several connectors are locked at once",
    "drop_dead_letters": "the same",
    "delete_expired_traces": "rows are found by ctid, which is a node's own",
    "delete_old_rows": "the same",
    "count_strays": "partitions would be made and dropped by the extension",
    "move_strays": "the same",
}
LEVELS = (ast.SelectStmt, ast.UpdateStmt, ast.DeleteStmt)


def statements() -> dict[str, Any]:
    """Return the parsed statements, with a parameter for each value, and a large table for each name in braces."""
    found = {}
    for name, text in queries().items():
        plain = re.sub(r"%\(\w+\)[sb]", "$1", text.decode().replace("{more}", "('', '')"))
        if name not in FRAGMENTS:
            found[name] = pglast.parse_sql(re.sub(r"\{\w+\}", "items", plain))[0].stmt
    return found


STATEMENTS = statements()


def is_a(node: Any, kind: type | tuple[type, ...]) -> bool:
    """Tell whether a node is of a kind; that its optional members are there is known from the kind of statement."""
    return isinstance(node, kind)


def nodes(root: Any) -> Iterator[Any]:
    """Yield a node and all below it."""
    if is_a(root, ast.Node):
        yield root
        for name in root:
            yield from nodes(getattr(root, name))
    elif isinstance(root, tuple):
        for one in root:
            yield from nodes(one)


def sources(level: Any) -> Iterator[Any]:
    """Yield what a level reads or writes: tables, subqueries, functions, and the joins of them."""
    found = [getattr(level, name, None) for name in ("relation", "fromClause", "usingClause")]
    while found:
        one = found.pop()
        if isinstance(one, tuple):
            found += one
        elif one is not None:
            yield one
            if is_a(one, ast.JoinExpr):
                found += [one.larg, one.rarg]


def conjuncts(condition: Any) -> Iterator[Any]:
    """Yield the conditions that all have to hold."""
    if is_a(condition, ast.BoolExpr) and condition.boolop == BoolExprType.AND_EXPR:
        for one in condition.args:
            yield from conjuncts(one)
    else:
        yield condition


def column(node: Any) -> tuple[str, ...]:
    """Return the parts of a column's name; none if the node is something else."""
    return tuple(one.sval for one in node.fields if is_a(one, ast.String)) if is_a(node, ast.ColumnRef) else ()


def bound_to(level: Any, table: Any) -> list[Any]:
    """Return what a table's `connector_id` equals in a level."""
    joins = [one for one in sources(level) if is_a(one, ast.JoinExpr)]
    if any(one.sval == "connector_id" for join in joins for one in join.usingClause or ()):
        return joins
    alias = table.alias.aliasname if table.alias else table.relname
    names = {("connector_id",), (alias, "connector_id")}
    found = []
    for condition in (level.whereClause, *(join.quals for join in joins)):
        for one in conjuncts(condition):
            if is_a(one, ast.A_Expr) and one.kind == A_Expr_Kind.AEXPR_OP and one.name[0].sval == "=":
                sides = [one.lexpr, one.rexpr]
                found += [other for side, other in (sides, sides[::-1]) if column(side) in names]
    return found


def faults(statement: Any) -> set[str]:
    """Return what a node could not answer for its part alone."""
    found = set()
    for level in nodes(statement):
        if is_a(level, LEVELS):
            for table in sources(level):
                if is_a(table, ast.RangeVar) and table.relname in LARGE:
                    bound = bound_to(level, table)
                    found |= set() if bound else {f"{table.relname} is not bound"}
                    if getattr(level, "lockingClause", None) and not any(is_a(one, ast.ParamRef) for one in bound):
                        found.add(f"{table.relname} is locked on several nodes")
    return found


def test_each_use_of_a_large_table_is_bound_to_a_connector() -> None:
    found = {name: faults(statement) for name, statement in STATEMENTS.items()}

    assert {name for name, told in found.items() if told} == ASKS_ALL.keys() | NOT_LEGAL.keys(), found


@pytest.mark.parametrize("name", ASKS_ALL)
def test_what_asks_every_node_only_reads_and_is_not_recursive(name: str) -> None:
    changes = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.LockingClause)

    assert not [node for node in nodes(STATEMENTS[name]) if is_a(node, changes) or getattr(node, "recursive", False)]


def test_rows_are_inserted_with_their_connector_and_keep_it() -> None:
    for name, statement in STATEMENTS.items():
        for node in nodes(statement):
            if is_a(node, ast.InsertStmt) and node.relation.relname in LARGE and name not in NOT_LEGAL:
                assert "connector_id" in {one.name for one in node.cols}, name
                target = node.onConflictClause and node.onConflictClause.infer
                assert not target or "connector_id" in {one.name for one in target.indexElems}, name
            if is_a(node, ast.UpdateStmt):
                assert "connector_id" not in {one.name for one in node.targetList}, name


def test_every_key_of_a_large_table_has_the_connector() -> None:
    text = "\n".join(migration.statements.decode() for migration in available())
    parsed: list[Any] = [one.stmt for one in pglast.parse_sql(text)]
    tables = [one for one in parsed if is_a(one, ast.CreateStmt)]
    keys = {table.relation.relname: _keys(table) for table in tables}

    assert all("connector_id" in key for name in LARGE for key in keys[name])
    assert all(keys[name] for name in LARGE)


def _keys(table: Any) -> list[set[str]]:
    unique = (ConstrType.CONSTR_PRIMARY, ConstrType.CONSTR_UNIQUE)
    return [
        {one.sval for one in node.keys} if node.keys else {element.colname}
        for element in table.tableElts or ()
        for node in nodes(element)
        if is_a(node, ast.Constraint) and node.contype in unique
    ]
