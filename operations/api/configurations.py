"""Operations on the configurations that operators manage."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from operations.api.answers import Configuration, ConfigurationText
from operations.api.inputs import Id, PageQuery
from operations.api.operation import Call, Input, Page, operation, page
from operations.configurations import checked_configuration, read_version, select_configuration, select_versions
from operations.documents import ConfigurationVersion
from operations.roles import Role

Version = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]


class NewConfiguration(Input):
    """A configuration to set: the text of a JSON object."""

    configuration: str


class Reversion(Input):
    """A version to return to; 0: before any was set."""

    version: Version


@operation("GET", "/connectors/{connector_id}/configuration", Role.OPERATOR)
def show_configuration(call: Call, connector_id: Id) -> Configuration:
    """Show the managed and the published configuration of a connector."""
    return _configuration(call, connector_id)


@operation("PUT", "/connectors/{connector_id}/configuration", Role.OPERATOR, if_match=True)
def set_configuration(call: Call, connector_id: Id, body: NewConfiguration) -> Configuration:
    """Set the managed configuration, which replaces the one that the connector published."""
    text = checked_configuration(body.configuration.encode())
    return _change(call, connector_id, text, "configuration.set")


@operation("DELETE", "/connectors/{connector_id}/configuration", Role.OPERATOR, if_match=True)
def clear_configuration(call: Call, connector_id: Id) -> Configuration:
    """Clear the managed configuration: the connector gets the one that it published."""
    return _change(call, connector_id, None, "configuration.clear")


@operation("POST", "/connectors/{connector_id}/configuration/revert", Role.OPERATOR, if_match=True)
def revert_configuration(call: Call, connector_id: Id, body: Reversion) -> Configuration:
    """Set the managed configuration as a version had it."""
    with call.engines.database() as connection:
        text = read_version(connection, connector_id, body.version)
    return _change(call, connector_id, text, "configuration.revert")


@operation("GET", "/connectors/{connector_id}/configuration/versions", Role.VIEWER)
def list_configuration_versions(call: Call, connector_id: Id, query: PageQuery) -> Page[ConfigurationVersion]:
    """List the versions of a managed configuration, the newest first, without their texts."""
    with call.engines.database() as connection:
        rows = select_versions(connection, connector_id, before=query.after() or None, limit=query.limit + 1)
    return page([ConfigurationVersion.of(row) for row in rows], query.limit, lambda one: one.version)


@operation("GET", "/connectors/{connector_id}/configuration/versions/{version}", Role.OPERATOR)
def show_configuration_version(call: Call, connector_id: Id, version: Version) -> ConfigurationText:
    """Show the text of one version; null if it cleared the configuration."""
    with call.engines.database() as connection:
        return ConfigurationText(version=version, managed=read_version(connection, connector_id, version))


def _configuration(call: Call, connector_id: int) -> Configuration:
    with call.engines.database() as connection:
        return Configuration.of(select_configuration(connection, connector_id))


def _change(call: Call, connector_id: int, text: str | None, action: str) -> Configuration:
    with call.engines.configurations(call.actor) as configurations:
        configurations.set_managed(connector_id, text, version=call.expected, action=action)
    return _configuration(call, connector_id)


OPERATIONS: Final = (
    show_configuration,
    set_configuration,
    clear_configuration,
    revert_configuration,
    list_configuration_versions,
    show_configuration_version,
)
