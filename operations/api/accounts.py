"""Operations on operators, tokens and the record of changes."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from operations.api.answers import NewTokenDocument
from operations.api.inputs import AccountName, Moment, PageQuery, moment
from operations.api.operation import Call, Input, Page, operation, page
from operations.audit import select_audit
from operations.documents import Change, OneTimePassword, OperatorDocument, TokenDocument
from operations.operators import Operators, select_operators
from operations.roles import Role
from operations.tokens import Tokens, select_tokens

#: Longest life of a token that has one, in seconds: a year.
_LONGEST_SECONDS: Final = 31_536_000


class NewOperator(Input):
    """An operator to create."""

    name: AccountName
    role: Role


class OperatorChange(Input):
    """An operator's new role."""

    role: Role


class NewTokenInput(Input):
    """A token to create; without an end, it is valid until it is revoked."""

    name: AccountName
    role: Role
    expires_seconds: Annotated[int, Meta(ge=1, le=_LONGEST_SECONDS)] | None = None


class AuditQuery(PageQuery):
    """Which changes."""

    subject: Annotated[str | None, Meta(description="Such as `connector 7`.")] = None
    actor: str | None = None
    action: Annotated[str | None, Meta(description="One action, or a group of them, such as `connector`.")] = None
    since: Moment | None = None


@operation("GET", "/operators", Role.ADMINISTRATOR)
def list_operators(call: Call) -> Page[OperatorDocument]:
    """List operators."""
    with call.engines.database() as connection:
        return Page(items=[OperatorDocument.of(row) for row in select_operators(connection)])


@operation("POST", "/operators", Role.ADMINISTRATOR, status=201)
def create_operator(call: Call, body: NewOperator) -> OneTimePassword:
    """Create an operator. The one-time password is told only now."""
    with call.engines.database() as connection:
        password = Operators(connection, call.actor).create(body.name, body.role)
    return OneTimePassword(name=body.name, one_time_password=password)


@operation("PATCH", "/operators/{name}", Role.ADMINISTRATOR)
def change_operator(call: Call, name: AccountName, body: OperatorChange) -> OperatorDocument:
    """Give an operator another role."""
    with call.engines.database() as connection:
        Operators(connection, call.actor).change_role(name, body.role)
        return OperatorDocument.of(select_operators(connection, name)[0])


@operation("POST", "/operators/{name}/password", Role.ADMINISTRATOR)
def reset_operator(call: Call, name: AccountName) -> OneTimePassword:
    """Replace an operator's password by a one-time password, which is told only now."""
    with call.engines.database() as connection:
        password = Operators(connection, call.actor).reset(name)
    return OneTimePassword(name=name, one_time_password=password)


@operation("DELETE", "/operators/{name}", Role.ADMINISTRATOR, status=204)
def revoke_operator(call: Call, name: AccountName) -> None:
    """Delete an operator: all sessions end at once."""
    with call.engines.database() as connection:
        Operators(connection, call.actor).revoke(name)


@operation("GET", "/tokens", Role.ADMINISTRATOR)
def list_tokens(call: Call) -> Page[TokenDocument]:
    """List tokens."""
    with call.engines.database() as connection:
        return Page(items=[TokenDocument.of(row) for row in select_tokens(connection)])


@operation("POST", "/tokens", Role.ADMINISTRATOR, status=201)
def create_token(call: Call, body: NewTokenInput) -> NewTokenDocument:
    """Create a token. It is told only now."""
    with call.engines.database() as connection:
        made = Tokens(connection, call.actor).create(body.name, body.role, body.expires_seconds)
    return NewTokenDocument.of(
        {
            "name": body.name,
            "role": body.role,
            "token_id": made.token_id,
            "expires_at": made.expires_at,
            "token": made.text,
        }
    )


@operation("DELETE", "/tokens/{name}", Role.ADMINISTRATOR, status=204)
def revoke_token(call: Call, name: AccountName) -> None:
    """Delete a token: it is refused from now on."""
    with call.engines.database() as connection:
        Tokens(connection, call.actor).revoke(name)


@operation("GET", "/audit", Role.VIEWER)
def list_changes(call: Call, query: AuditQuery) -> Page[Change]:
    """List recorded changes with their authors, before and after, the newest first."""
    with call.engines.database() as connection:
        rows = select_audit(
            connection,
            subject=query.subject,
            actor=query.actor,
            action=query.action,
            since=moment(query.since),
            before_id=query.after() or None,
            limit=query.limit + 1,
        )
    return page([Change.of(row) for row in rows], query.limit, lambda one: one.audit_id)


OPERATIONS: Final = (
    list_operators,
    create_operator,
    change_operator,
    reset_operator,
    revoke_operator,
    list_tokens,
    create_token,
    revoke_token,
    list_changes,
)
