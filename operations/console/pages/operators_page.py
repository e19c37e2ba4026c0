"""Operators and tokens, for administrators."""

from __future__ import annotations

from typing import Any

from operations.console.pages.visit import Done, Form, Outcome, Question, Shown, Visit
from operations.operators import Operators, select_operators
from operations.roles import Role
from operations.rules import account_name
from operations.tokens import Tokens, select_tokens
from shared.causes import SentenceError

_LONGEST_DAYS = 3_650


def show(visit: Visit) -> dict[str, Any]:
    """Show operators and tokens."""
    with visit.engines.database() as connection:
        return {"operators": select_operators(connection), "tokens": select_tokens(connection), "roles": list(Role)}


def change(visit: Visit, form: Form) -> Outcome:
    """Create an operator, reset its password, change its role, revoke it."""
    name = account_name(form.get("name", "").strip())
    change = form.get("change", "")
    if change in ("reset", "revoke", "role") and name == visit.session.name:
        raise SentenceError("Another administrator has to do this: it is your own login.")
    if change == "revoke" and form.get("confirmed") != "yes":
        told = f"The operator {name} is logged out everywhere and can't log in any more."
        return Question(
            f"Revoke {name}?", (told,), "Revoke", {"name": name, "change": change}, "/operators", is_final=True
        )
    with visit.engines.database() as connection:
        operators = Operators(connection, visit.actor)
        match change:
            case "create":
                return _shown("password", name, operators.create(name, _role(form)))
            case "reset":
                return _shown("password", name, operators.reset(name))
            case "role":
                operators.change_role(name, _role(form))
                return Done("/operators", f"{name} has the role {form['role']} from now on.")
            case "revoke":
                operators.revoke(name)
                return Done("/operators", f"The operator {name} is revoked.")
    raise SentenceError("Choose what to do with the operator.")


def change_token(visit: Visit, form: Form) -> Outcome:
    """Create or revoke a token."""
    name = account_name(form.get("name", "").strip())
    if form.get("change") == "revoke" and form.get("confirmed") != "yes":
        told = f"Programs that use the token {name} are refused at once."
        fields = {"name": name, "change": "revoke"}
        return Question(f"Revoke {name}?", (told,), "Revoke", fields, "/operators", is_final=True)
    with visit.engines.database() as connection:
        tokens = Tokens(connection, visit.actor)
        if form.get("change") == "revoke":
            tokens.revoke(name)
            return Done("/operators", f"The token {name} is revoked.")
        days = next(iter(form.numbers("days")), 0)
        if days > _LONGEST_DAYS:
            raise SentenceError(f"A token may be valid for {_LONGEST_DAYS:,} days, or forever without a number.")
        return _shown("token", name, tokens.create(name, _role(form), days * 86_400 or None).text)


def _role(form: Form) -> Role:
    if form.get("role", "") not in list(Role):
        raise SentenceError("Choose a role.")
    return Role(form["role"])


def _shown(kind: str, name: str, secret: str) -> Shown:
    return Shown("secret.html", {"kind": kind, "name": name, "secret": secret})
