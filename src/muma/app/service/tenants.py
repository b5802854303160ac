"""Several recipes behind one door: each is a tenant with its own run, keys, rules, models and pace.

A recipe says whose it is (`serving.tenant`), and its run holds that tenant's keys (`muma keys create RECIPE`).
Nothing is shared but the process and the counts for its operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from muma.app.config import AppConfig, read_recipe
from muma.app.service.clock import machine_clock
from muma.app.service.make import Opened, open_service
from muma.errors import ConfigError
from muma.serving.http.service import KeyFinder, Service
from muma.serving.keys import Key
from muma.serving.tenants import Tenants

NOBODY = ""
"""No tenant has this name: nobody reads the counts of all."""


class KeysOfAll:
    """The keys of several tenants, each in a file of its own.

    A key counts for the tenant whose file holds it, and only if the file says so too.

    Args:
        files: tenant -> its keys.
    """

    def __init__(self, files: Mapping[str, KeyFinder]) -> None:
        self._files = dict(files)

    def find(self, token: str) -> Key | None:
        """The key that `token` is; every file is asked, so that time does not tell whose it was."""
        found = [(tenant, keys.find(token)) for tenant, keys in self._files.items()]
        return next(
            (key for tenant, key in found if key is not None and key.tenant == tenant), None
        )


@dataclass
class OpenedTenants:
    """A service of several recipes.

    Attributes:
        service: for the door.
        opened: tenant -> its own.
    """

    service: Service
    opened: Mapping[str, Opened]

    def close(self) -> None:
        """Write what waits and release everything; safe to call twice."""
        with ExitStack() as stack:
            for one in self.opened.values():
                stack.callback(one.close)


def make(
    recipes: Sequence[str], overrides: Sequence[str] = (), *, operators: str = NOBODY
) -> Service:
    """The service of several recipes, for `muma.serving.http.server.ServerConfig.factory`.

    Args:
        recipes: paths of TOML files.
        overrides: `a.b=c`, for each of them.
        operators: tenant whose admin keys may read `/metrics`, which count for all; nobody unless named.
    """
    configs = [read_recipe(recipe, overrides=list(overrides)) for recipe in recipes]
    return open_tenants(configs, operators=operators).service


def open_tenants(configs: Sequence[AppConfig], *, operators: str = NOBODY) -> OpenedTenants:
    """Open everything of several trained recipes, by this machine's clock.

    Raises:
        ConfigError: two recipes are of one tenant, or share a run folder, or `operators` is no tenant.
        MumaError: see `open_service`; then nothing stays open.
    """
    check_tenants(configs, operators=operators)
    opened: dict[str, Opened] = {}
    with ExitStack() as undo:
        for config in configs:
            one = open_service(config, time_of="now")
            undo.callback(one.close)
            opened[config.serving.tenant] = one
        service = _together(opened, operators)
        undo.pop_all()
    return OpenedTenants(service, opened)


def check_tenants(configs: Sequence[AppConfig], *, operators: str = NOBODY) -> None:
    """Refuse recipes that would be mistaken for each other; one line a fault.

    Raises:
        ConfigError: see `open_tenants`.
    """
    faults = []
    names = [config.serving.tenant for config in configs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        faults.append(
            f"several recipes are of the tenant {twice[0]!r}; set serving.tenant in each to a name of its own"
        )
    folders = [str(config.folder.resolve()) for config in configs]
    if shared := sorted({folder for folder in folders if folders.count(folder) > 1}):
        faults.append(
            f"several recipes run in {shared[0]}; give each its own name, or its own runs"
        )
    if operators and operators not in names:
        faults.append(f"operators = {operators!r} is no tenant; there are: {', '.join(names)}")
    if faults:
        raise ConfigError("\n".join(faults))


def _together(opened: Mapping[str, Opened], operators: str) -> Service:
    services = {name: one.service for name, one in opened.items()}
    first = next(iter(services.values()))
    threads = sum(service.config.answer_threads for service in services.values())
    ready: dict[str, Callable[[], str | None]] = {}
    for number, service in enumerate(services.values(), start=1):  # anybody may ask: no names
        ready |= {f"{part} of tenant {number}": check for part, check in service.ready.items()}
    return Service(
        tenants=Tenants(tenant for service in services.values() for tenant in service.tenants),
        keys=KeysOfAll({name: one.keys for name, one in opened.items()}),
        clock=machine_clock,
        config=first.config.model_copy(update={"operators": operators, "answer_threads": threads}),
        ready=ready,
        on_start=tuple(call for service in services.values() for call in service.on_start),
        on_stop=tuple(call for service in services.values() for call in service.on_stop),
    )
