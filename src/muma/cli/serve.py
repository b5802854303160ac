"""`muma serve`, `muma keys` and `muma replay`: a trained recipe as a service."""

from __future__ import annotations

from typing import Annotated

import typer

from muma.app.config import AppConfig, read_recipe
from muma.app.training import train_recipe
from muma.artifact import exists
from muma.cli.show import titled
from muma.cli.terminal import (
    Json,
    Recipe,
    Set,
    err,
    escaped,
    friendly,
    now_us,
    out,
    print_json,
    progress_bars,
)  # fmt: skip
from muma.errors import ConfigError
from muma.serving import loading

keys = typer.Typer(
    name="keys",
    help="Keys of the service's callers.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ROLES = "read,write,admin"
ONE, SEVERAL = "muma.app.service.make.make", "muma.app.service.tenants.make"
Recipes = Annotated[list[str], typer.Argument(help="Paths of TOML recipes; see recipes/.")]


@friendly
def serve(
    recipes: Recipes,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8000,
    log_time: Annotated[
        bool,
        typer.Option("--log-time", help="A clock that begins where the service's log ends."),
    ] = False,
    certificate: Annotated[
        str | None, typer.Option("--tls-certificate", help="PEM file; speaks TLS only.")
    ] = None,
    key: Annotated[str | None, typer.Option("--tls-key", help="PEM file of its key.")] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only say all that would keep the service from starting."),
    ] = False,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="With --check: the run need not be trained yet.")
    ] = False,
    operators: Annotated[
        str, typer.Option("--operators", help="Of several recipes: the tenant that reads /metrics.")
    ] = "",
    set_: Set = None,
) -> None:
    """Answer over HTTP with the models of the recipe's run; trains them first if needed.

    Several recipes are several tenants, by the name in serving.tenant: each has its own run, keys, rules,
    models and limits, and learns nothing of the others.

    Before anything is started, all that is wrong is said at once; with --check nothing else is done, and
    the exit code is 1 when something is.

    The first start makes a key with every role and prints it once; `muma keys` makes others. What the
    service can do stands at /schema.

    Example: muma serve recipes/demo.toml --log-time --set serving.begin=test

    Python: muma.app.service.make.open_service(config), muma.app.service.tenants.open_tenants(configs)
    """
    server = loading.server()

    overrides = list(set_ or ())
    _checked(recipes, overrides, (host, port, certificate, key), only=check, untrained=untrained)
    configs = [read_recipe(recipe, overrides=overrides) for recipe in recipes]
    if len(configs) > 1:
        from muma.app.service.tenants import check_tenants

        check_tenants(configs, operators=operators)
        if log_time:
            raise ConfigError("--log-time goes by one log; serve one recipe, or leave it out")
    elif operators:
        raise ConfigError(
            "--operators names one of several tenants; a single one reads /metrics itself"
        )
    if check:
        out.print("nothing is wrong")
        return
    for config in configs:
        if not exists(config.folder / "ranking" / "rankers"):
            err.print(f"no rankers in {config.folder} yet: training them first")
            with progress_bars():
                train_recipe(config, now_us=now_us())
    url = f"{'https' if certificate else 'http'}://{host}:{port}"
    for config in configs:
        _first_key(config, url, alone=len(configs) == 1)
    out.print(f"listening on {url}", soft_wrap=True)
    server.serve(
        server.ServerConfig(
            factory=ONE if len(recipes) == 1 else SEVERAL,
            arguments=(
                {
                    "recipe": recipes[0],
                    "overrides": overrides,
                    "time_of": "log" if log_time else "now",
                }
                if len(recipes) == 1
                else {"recipes": recipes, "overrides": overrides, "operators": operators}
            ),
            host=host,
            port=port,
            tls_certificate=certificate,
            tls_key=key,
        ),
        checked=True,
    )


def _first_key(config: AppConfig, url: str, *, alone: bool) -> None:
    """Make the first key of a run that has none, and print it once, with the address of the page."""
    from muma.app.service.make import keys_of

    held, tenant = keys_of(config, clock=now_us), config.serving.tenant
    if not held.keys():
        _, token = held.create(tenant=tenant, roles=("read", "write", "admin"), name="first")
        whose = "" if alone else f" of {escaped(tenant)}"
        out.print(f"key{whose} (shown this once): [bold]{token}[/]", soft_wrap=True)
        out.print(f"page: {url}/?key={token}", soft_wrap=True)


def _checked(
    recipes: list[str],
    overrides: list[str],
    place: tuple[str, int, str | None, str | None],
    *,
    only: bool,
    untrained: bool,
) -> None:
    """Say everything that is wrong, and end if anything is."""
    from muma.app.service import checking

    where = checking.Place(*place)
    told = (checking.check(one, overrides, place=where, thorough=only) for one in recipes)
    found = tuple(dict.fromkeys(fault for faults in told for fault in faults))
    if not only or untrained:  # what is not trained will be
        found = tuple(fault for fault in found if fault.where != checking.TRAINING)
    for fault in found:
        err.print(f"[bold red]{escaped(fault.where)}:[/] {escaped(fault.text)}", soft_wrap=True)
    if found:
        raise typer.Exit(1 if only else 2)


@friendly
def replay(
    recipe: Recipe,
    request_id: Annotated[str, typer.Argument(help="Of the decision.")],
    set_: Set = None,
    json: Json = False,
) -> None:
    """Answer a past request again from its evidence and say every bit that differs.

    The service must not be running: one process at a time opens its state. Exit code 1 when the answer
    differs.

    Example: muma replay recipes/demo.toml 5c1f3a

    Python: muma.serving.evidence.replay.replay(evidence, engine)
    """
    from muma.app.service.make import open_service
    from muma.serving.evidence.replay import replay as again

    opened = open_service(read_recipe(recipe, overrides=set_ or ()), time_of="log")
    try:
        evidence = opened.evidence.get(request_id)
        if evidence is None:
            raise ConfigError(f"no decision {request_id!r} is kept in {opened.evidence.folder}")
        found = again(evidence, opened.engine)
    finally:
        opened.close()
    if json:
        print_json(
            {"request_id": request_id, "equal": found.equal, "differences": found.count,
             "missing": found.missing}
        )  # fmt: skip
    else:
        out.print(escaped(str(found)), soft_wrap=True)
    if not found.equal:
        raise typer.Exit(1)


@keys.callback()
def _keys() -> None:
    """Keys of the service's callers."""


@keys.command("create")
@friendly
def create(
    recipe: Recipe,
    name: Annotated[str, typer.Option("--name", help="For people: who uses it.")],
    roles: Annotated[str, typer.Option("--roles", help=f"Some of {ROLES}.")] = "read",
    set_: Set = None,
) -> None:
    """Make a key of the recipe's tenant (`serving.tenant`) and print it once.

    Example: muma keys create recipes/demo.toml --name "home page" --roles read,write

    Python: muma.app.service.make.keys_of(config, clock=clock).create(tenant=..., roles=..., name=...)
    """
    held = _held(recipe, set_)
    tenant = read_recipe(recipe, overrides=set_ or ()).serving.tenant
    chosen = tuple(role.strip() for role in roles.split(",") if role.strip())
    _, token = held.create(tenant=tenant, roles=chosen, name=name)  # pyright: ignore[reportArgumentType] - checked there
    out.print(token, soft_wrap=True)


@keys.command("list")
@friendly
def list_(recipe: Recipe, set_: Set = None) -> None:
    """All keys, without their secrets.

    Example: muma keys list recipes/demo.toml

    Python: muma.app.service.make.keys_of(config, clock=clock).keys()
    """
    table = titled("keys", "id")
    for column in ("name", "roles", "state"):
        table.add_column(column)
    held = _held(recipe, set_)
    for key in held.keys():  # noqa: SIM118 - no mapping
        state = "good" if key.revoked_at is None else "revoked"
        table.add_row(key.id, escaped(key.name), ", ".join(key.roles), state)
    out.print(table)


@keys.command("revoke")
@friendly
def revoke(
    recipe: Recipe,
    key_id: Annotated[str, typer.Argument(help="As `muma keys list` shows it.")],
    set_: Set = None,
) -> None:
    """Make a key worthless, for good.

    Example: muma keys revoke recipes/demo.toml 3f9a0c12be77

    Python: muma.app.service.make.keys_of(config, clock=clock).revoke(key_id)
    """
    _held(recipe, set_).revoke(key_id)
    out.print(f"{escaped(key_id)} is revoked")


def _held(recipe: str, set_: list[str] | None):  # noqa: ANN202 - a KeyFile
    from muma.app.service.make import keys_of

    return keys_of(read_recipe(recipe, overrides=set_ or ()), clock=now_us)
