"""What operators change of one connector: name, limits, key, state, hooks, configuration."""

from __future__ import annotations

from typing import Any, Final

from operations.configurations import (
    checked_configuration,
    difference,
    read_version,
    select_configuration,
    select_versions,
)
from operations.console.pages.connector import subject
from operations.console.pages.connectors import burst_of, rate_of
from operations.console.pages.survey import Surveyor
from operations.console.pages.visit import Done, Form, Outcome, Question, Shown, Visit, whole_number
from operations.hooks import NewHook, select_hooks
from operations.removal import count_items, deletion
from shared.causes import SentenceError
from shared.hooks.hook import DEFAULT_TOLERANCE
from shared.hooks.schemes import SCHEMES


class ConnectorSettings:
    """The settings of one connector, and what its forms do."""

    def __init__(self, surveyor: Surveyor) -> None:
        self._surveyor = surveyor

    def show(self, visit: Visit) -> dict[str, Any]:
        """Show what can be changed."""
        with visit.engines.database() as connection:
            row = subject(visit, connection)
            hooks = select_hooks(connection, connector_id=row["connector_id"])
        return {
            "row": row,
            "tab": "settings",
            "hooks": hooks,
            "schemes": list(SCHEMES),
            "keyring": bool(visit.engines.keyring),
        }

    def change(self, visit: Visit, form: Form) -> Outcome:
        """Rename the connector, change its limits, rotate its key, disable, enable or delete it."""
        change = form.get("change", "")
        with visit.engines.database() as connection:
            row = subject(visit, connection)
            items = count_items(connection, row["connector_id"]) if change == "delete" else 0
        if change in _QUESTIONS and form.get("confirmed") != "yes":
            return _question(row, change, items)
        if change == "delete":
            work = deletion(visit.engines.redis, visit.actor, row["connector_id"])
            job_id = visit.engines.jobs.start("connector.delete", visit.actor, items, work)
            return Done(f"/jobs/{job_id}", "")
        outcome = self._changed(visit, row, change, form)
        self._surveyor.forget()
        return outcome

    def _changed(self, visit: Visit, row: dict[str, Any], change: str, form: Form) -> Outcome:
        connector_id, back = row["connector_id"], f"/connectors/{row['connector_id']}/settings"
        seen = next(iter(form.numbers("generation")), None)
        with visit.engines.connectors(visit.actor) as connectors:
            match change:
                case "rename":
                    connectors.change([connector_id], seen, name=form.get("name", ""))
                    return Done(back, "The connector is renamed.")
                case "limits":
                    connectors.change([connector_id], seen, rate=rate_of(form), burst=burst_of(form))
                    return Done(back, "The limits are changed. They hold from the next request on.")
                case "rotate":
                    made = connectors.rotate(connector_id)
                    return Shown("credentials.html", {"made": [(connector_id, row["name"], made.text)], "back": back})
                case "disable":
                    connectors.disable(connector_id)
                    return Done(back, "The connector is disabled: its key and hooks are refused everywhere.")
                case "enable":
                    connectors.enable(connector_id)
                    return Done(back, "The connector is enabled.")
        raise SentenceError("Choose what to do with the connector.")

    def change_hook(self, visit: Visit, form: Form) -> Outcome:
        """Create, rotate, disable, enable or delete a hook."""
        connector_id = visit.number("connector_id")
        change, hook_id = form.get("change", ""), form.get("hook", "")
        back = f"/connectors/{connector_id}/settings"
        if change in _HOOK_QUESTIONS and form.get("confirmed") != "yes":
            title, told = _HOOK_QUESTIONS[change]
            fields = {"change": change, "hook": hook_id}
            return Question(f"{title} {hook_id}?", (told,), title, fields, back, is_final=change == "delete")
        with visit.engines.hooks(visit.actor) as hooks:
            match change:
                case "create":
                    made = _new_hook(form)
                    hook_id, secret = hooks.create(connector_id, made, form.get("secret", "").strip() or None)
                    return Shown("hook_secret.html", {"hook_id": hook_id, "secret": secret, "back": back})
                case "rotate":
                    secret = hooks.rotate(hook_id, keep_seconds=86_400)
                    return Shown("hook_secret.html", {"hook_id": hook_id, "secret": secret, "back": back})
                case "disable" | "enable" | "delete":
                    getattr(hooks, change)(hook_id)
                    return Done(back, f"The hook {hook_id} is {change}d.")
        raise SentenceError("Choose what to do with the hook.")

    def show_configuration(self, visit: Visit) -> dict[str, Any]:
        """Show the configuration, its versions, and how one differs from the one before."""
        may = visit.session.role.sees_values
        with visit.engines.database() as connection:
            row = subject(visit, connection)
            found = select_configuration(connection, row["connector_id"])
            versions = select_versions(connection, row["connector_id"])
            version = min(visit.whole("version") or found["version"], found["version"])
            lines: list[str] = []
            if may and version:
                old, new = (read_version(connection, row["connector_id"], one) for one in (version - 1, version))
                lines = difference(old, new, (f"version {version - 1}", f"version {version}"))
        return {
            "row": row,
            "tab": "configuration",
            "found": found,
            "versions": versions,
            "version": version,
            "lines": lines,
            "may": may,
        }

    def change_configuration(self, visit: Visit, form: Form) -> Outcome:
        """Set the managed configuration, clear it, or set what a version was."""
        connector_id = visit.number("connector_id")
        back = f"/connectors/{connector_id}/configuration"
        with visit.engines.configurations(visit.actor) as configurations:
            if form.get("change") == "revert":
                wanted = whole_number(form.get("version", ""))
                if wanted is None:
                    raise SentenceError("Choose a version.")
                version = configurations.revert(connector_id, wanted)
                return Done(back, f"Version {version} is as version {wanted} was.")
            text = None if form.get("change") == "clear" else checked_configuration(form.get("text", "").encode())
            seen = next(iter(form.numbers("seen")), None)
            version = configurations.set_managed(connector_id, text, version=seen)
        return Done(back, f"Version {version} is what the connector gets from now on.")


_QUESTIONS: Final = {
    "rotate": (
        "Rotate the key",
        "The old key is refused everywhere at once; the new one is shown once, on the next page.",
    ),
    "delete": (
        "Delete",
        "Its key and hooks are refused at once; then its items, hooks, configurations and dead letters are deleted.",
    ),
    "disable": ("Disable", "Its key and hooks are refused everywhere, until it is enabled again."),
}
_HOOK_QUESTIONS: Final = {
    "rotate": ("Add a secret to the hook", "The present secret is taken for another day; the new one is shown once."),
    "disable": ("Disable the hook", "Its deliveries are refused, until it is enabled again."),
    "delete": ("Delete the hook", "Its deliveries are refused, and its secrets are forgotten."),
}


def _question(row: dict[str, Any], change: str, items: int) -> Question:
    title, told = _QUESTIONS[change]
    return Question(
        title=f"{title} of {row['name']}?" if change == "rotate" else f"{title} {row['name']}?",
        sentences=(
            f"1 connector: {row['connector_id']} {row['name']}{f', with {items:,} items' if items else ''}.",
            told,
        ),
        button=title,
        fields={"change": change},
        back=f"/connectors/{row['connector_id']}/settings",
        is_final=change in ("delete", "rotate"),
    )


def _new_hook(form: Form) -> NewHook:
    scheme, stream, id_field = (form.get(name, "").strip() for name in ("scheme", "stream", "id_field"))
    return NewHook(scheme, stream, id_field or "id", DEFAULT_TOLERANCE)
