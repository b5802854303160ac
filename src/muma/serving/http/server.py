"""Worker processes of the service, by granian.

A factory is named by its import path, so that every worker makes its own service: what cannot be shared
between processes is opened where it is used.

    from muma.serving.http.server import ServerConfig, serve
    serve(ServerConfig(factory="muma.app.service.make", arguments={"recipe": "recipes/demo.toml"}))

On SIGTERM or SIGINT each worker takes no new connection, ends what is under way, flushes and closes.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from pydantic import Field

from muma.config import Config
from muma.errors import ConfigError

if TYPE_CHECKING:
    from muma.serving.http.door import Door


class ServerConfig(Config):
    """Where to listen and with how many processes.

    Attributes:
        factory: import path of a function that makes a `Service`, or a `Door` around one.
        arguments: handed to it by name.
        host: address to listen on; this machine's own unless set.
        port: to listen on.
        workers: processes.
        tls_certificate: PEM file; with it the service speaks TLS only.
        tls_key: PEM file of its key.
        tls_client_authority: PEM file; with it every client must show a certificate of theirs.
        header_s: time in which a request's head must have come, seconds; slow senders are cut off.
        stop_s: after this time a worker that has not stopped is killed, seconds.
        backlog: connections that may wait to be accepted.
        most_under_way: requests at once in a worker; more wait in the socket.
    """

    factory: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    workers: int = Field(default=1, ge=1, le=256)
    tls_certificate: str | None = None
    tls_key: str | None = None
    tls_client_authority: str | None = None
    header_s: float = Field(default=5.0, gt=0)
    stop_s: float = Field(default=30.0, gt=0)
    backlog: int = Field(default=1024, ge=1)
    most_under_way: int = Field(default=512, ge=1)


def serve(config: ServerConfig, *, checked: bool = False) -> None:
    """Serve until a signal says to stop; call it from the main thread.

    Args:
        config: where, and what.
        checked: the factory is known to exist and to take its arguments, and need not be imported here.

    Raises:
        ConfigError: the factory does not exist or does not take these arguments, or a file of TLS is
            missing.
    """
    _check_files(config)
    if not checked:
        _check_factory(config)
    certificate, key = config.tls_certificate, config.tls_key
    authority = config.tls_client_authority
    # a forked worker hangs for good when a library of its parent (polars) has threads
    multiprocessing.set_start_method("spawn", force=True)
    # small products of one request: a second thread only spins, on the core that the store's writer needs
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # else each of fifty threads keeps pieces of freed memory of its own, some MiB more every hour
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    Granian(
        target=config.factory,
        address=config.host,
        port=config.port,
        interface=Interfaces.ASGI,
        workers=config.workers,
        http=HTTPModes.http1,
        websockets=False,
        backlog=config.backlog,
        backpressure=config.most_under_way,
        http1_settings=HTTP1Settings(header_read_timeout=round(config.header_s * 1_000)),
        log_dictconfig=LOGGING,
        ssl_cert=Path(certificate) if certificate else None,
        ssl_key=Path(key) if key else None,
        ssl_ca=Path(authority) if authority else None,
        ssl_client_verify=authority is not None,
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, round(config.stop_s)),
    ).serve(target_loader=partial(load, config), wrap_loader=False)


def load(config: ServerConfig) -> Door:
    """The application of one worker process.

    Raises:
        ConfigError: the factory does not exist, does not take these arguments, or makes another thing.
    """
    from muma.serving.http.app import build  # noqa: PLC0415 - workers need it, and not who starts them
    from muma.serving.http.door import Door  # noqa: PLC0415
    from muma.serving.http.service import Service  # noqa: PLC0415

    gc.disable()  # all that is made here stays: looking through it again and again would be in vain
    try:
        made = _factory(config)(**config.arguments)
    finally:
        gc.enable()
    if isinstance(made, Service):
        return build(made)
    if isinstance(made, Door):
        return made
    raise ConfigError(
        f"factory {config.factory} made a {type(made).__name__}; it must make a Service"
    )


def _factory(config: ServerConfig) -> Callable[..., Any]:
    module, _, name = config.factory.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None) if module else None
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        found = None
    if not callable(found):
        raise ConfigError(
            f"factory {config.factory!r} does not exist; write it as 'package.module.function'"
        )
    return found


def _check_factory(config: ServerConfig) -> None:
    """Whether it can be called with its arguments."""
    try:
        inspect.signature(_factory(config)).bind(**config.arguments)
    except TypeError as error:
        raise ConfigError(f"factory {config.factory}: {error}") from None


def _check_files(config: ServerConfig) -> None:
    """What else can be known to be wrong before a process is started."""
    if (config.tls_certificate is None) != (config.tls_key is None):
        raise ConfigError("TLS needs both tls_certificate and tls_key; got one of them")
    for name in ("tls_certificate", "tls_key", "tls_client_authority"):
        path = getattr(config, name)
        if path is not None and not Path(path).is_file():
            raise ConfigError(f"{name}: there is no file {path}")


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "muma.serving.http.logs.JsonLines"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "loggers": {
        name: {"handlers": ["stderr"], "level": "INFO", "propagate": False}
        for name in ("muma", "_granian")
    },
}
