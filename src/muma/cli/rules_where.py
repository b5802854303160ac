"""Where rules are kept: a run on this machine, or a service that is running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from muma.errors import ConfigError

if TYPE_CHECKING:
    from muma.client import Client

Where = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE|URL", help="A TOML recipe, or the address of a running service."
    ),
]
Key = Annotated[
    str | None,
    typer.Option("--key", envvar="MUMA_KEY", help="With an address: a key of the service."),
]


def is_address(where: str) -> bool:
    """Whether a running service is meant."""
    return where.startswith(("http://", "https://"))


def service_of(address: str, key: str | None) -> Client:
    """A client of the running service.

    Raises:
        ConfigError: there is no key.
    """
    if not key:
        raise ConfigError("the service asks for a key: give --key, or set MUMA_KEY")
    from muma.client import Client  # noqa: PLC0415 - its library is an extra

    return Client(address, key=key, timeout_s=60.0)
