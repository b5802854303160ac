"""What would keep a recipe from being served: all of it at once, before anything is started.

Each part is looked at by itself, so that one fault does not hide another. Nothing is written, trained or
left open.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from muma.app.attributes import item_attributes, user_attributes
from muma.app.config import AppConfig, read_recipe
from muma.app.context import request_context
from muma.app.features import compile_features
from muma.app.serving_bundle import versions_of
from muma.app.stages import Stages
from muma.app.streaming import stream_folder
from muma.app.training import ranking_of, sources_of, stage_inputs
from muma.artifact import exists
from muma.backends.stream_folder import take_lock
from muma.candidates.live import Live
from muma.config import build, config_type, locate, parse
from muma.errors import ConfigError, MumaError, StreamError
from muma.events.event import EventLog
from muma.events.log_folder import open_log
from muma.serving.keys import KeyFile
from muma.serving.parts import Item
from muma.serving.rules.store import RuleStore

T = TypeVar("T")
TRAINING = "training"


@dataclass(frozen=True)
class Place:
    """Where a service would listen.

    Attributes:
        host: address.
        port: 0 is not looked at.
        certificate: PEM file.
        key: PEM file of its key.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Fault:
    """Something that is wrong.

    Attributes:
        where: part of the recipe or of the service; `training` when the run only has to be trained.
        text: what was got, what is allowed, what to do.
    """

    where: str
    text: str


@dataclass
class _Found:
    """Faults as they are found."""

    faults: list[Fault] = field(default_factory=list)

    def add(self, where: str, text: object) -> None:
        for line in str(text).splitlines():
            fault = Fault(where, line)
            if fault not in self.faults:
                self.faults.append(fault)

    @contextmanager
    def looking(self, where: str) -> Iterator[None]:
        """Take what goes wrong as a fault, and go on."""
        try:
            yield
        except MumaError as error:
            self.add(where, error)
        except OSError as error:
            place = "" if error.filename is None else f"{error.filename}: "
            self.add(where, f"{place}{error.strerror or error}")

    def got(self, where: str, make: Callable[[], T]) -> T | None:
        """What `make` makes; None with a fault."""
        with self.looking(where):
            return make()
        return None


def check(
    recipe: str | Path,
    overrides: Sequence[str] = (),
    *,
    place: Place = Place(),
    thorough: bool = True,
) -> tuple[Fault, ...]:
    """Everything that would keep a recipe from being served.

    Args:
        recipe: path of the TOML file.
        overrides: `a.b=c`.
        place: where the service would listen.
        thorough: look through the files of models, too; a service that starts does it by itself.
    """
    found = _Found()
    _check_place(place, found)
    config = found.got("recipe", lambda: read_recipe(recipe, overrides=overrides))
    if config is not None:
        _check_recipe(config, found)
        _check_run(config, found, thorough)
    return tuple(found.faults)


def _check_place(place: Place, found: _Found) -> None:
    files = {"tls-certificate": place.certificate, "tls-key": place.key}
    if sum(file is not None for file in files.values()) == 1:
        found.add("tls", "TLS needs both a certificate and its key; got one of them")
    missing = {name: file for name, file in files.items() if file and not Path(file).is_file()}
    for name, file in missing.items():
        found.add(name, f"there is no file {file}")
    if place.certificate and place.key and not missing:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(place.certificate, place.key)
        except (ssl.SSLError, OSError) as error:
            found.add(
                "tls", f"{place.certificate} and {place.key} are no pair of PEM files ({error})"
            )
    if place.port:
        with found.looking("port"):
            _listen(place.host, place.port)


def _listen(host: str, port: int) -> None:
    """Listen for a moment.

    Raises:
        ConfigError: somebody else does, or it is not an address of this machine.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[
            0
        ]
        with socket.socket(family, kind, number) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}); choose another --port "
            "or --host"
        ) from None


def _check_recipe(config: AppConfig, found: _Found) -> None:
    """What can be told without a run."""
    methods = ("next_slot", "expected")
    found.got("policy", lambda: build(config.policy, where="policy", methods=methods))
    found.got("features", lambda: compile_features(config))
    section, sequences = config.serving, config.features.sequences
    if section.history not in sequences:
        known = ", ".join(sequences) or "none"
        found.add(
            "serving.history",
            f"{section.history!r} is no sequence of [features.sequences]; there are: {known}",
        )
    elif sequences[section.history].key != "user":
        found.add("serving.history", f"the sequence {section.history!r} is not kept by user")
    found.got("ranking", lambda: ranking_of(config))
    sources = [] if config.ranking is None else sources_of(config)
    for name in sources:
        if (spec := config.candidates.models.get(name)) is not None:
            with found.looking(f"candidates.models.{name}"):
                _check_source(name, spec.use, {**spec.params})
    if section.similar is not None and section.similar not in sources:
        known = ", ".join(sources) or "none"
        found.add(
            "serving.similar",
            f"{section.similar!r} is no source of the ranking; there are: {known}",
        )


def _check_source(name: str, use: str, params: dict[str, object]) -> None:
    component = locate(use)
    parse(config_type(component), params, where=f"candidates.models.{name}")
    if not callable(getattr(component, "score_history", None)):
        raise ConfigError(
            f"{use} cannot score a history in hand ({Live.__name__}), which a service needs; leave "
            f"{name!r} out of ranking.sources"
        )


def _check_run(config: AppConfig, found: _Found, thorough: bool) -> None:
    """What the run's folder tells."""
    folder = config.folder
    log = None
    if exists(folder / "log"):
        log = found.got("log", lambda: open_log(folder / "log"))
    else:
        source = found.got(
            "events.source",
            lambda: build(
                config.events.source, where="events.source", methods=("batches", "files")
            ),
        )
        if source is not None:
            with found.looking("events.source"):
                source.files()
        found.add(TRAINING, f"{folder} holds no log; run 'muma train'")
    if log is not None:
        _check_log(config, log, found, thorough)
    with found.looking("rules"):
        RuleStore(folder / "rules", clock=lambda: 0).rule_set()
    with found.looking("keys"):
        KeyFile(folder / "keys.json", clock=lambda: 0).keys()
    with found.looking("stream"):
        _check_alone(config)


def _check_log(config: AppConfig, log: EventLog, found: _Found, thorough: bool) -> None:
    items = _put_items(config.folder / "items.jsonl", found)
    names = set(log.item_ids.ids.cast(str).to_list()) | items
    for name in config.serving.editorial:
        if name not in names:
            found.add("serving.editorial", f"there is no item {name!r} in the log or the catalogue")
    section = config.ranking
    if section is None:
        return
    found.got("ranking.item_attributes", lambda: item_attributes(log, section.item_attributes))
    found.got("ranking.user_attributes", lambda: user_attributes(log, section.user_attributes))
    found.got("ranking.context", lambda: request_context(log, section.context))
    live = found.got("models", lambda: _live(config))
    if live is None:
        inputs = found.got(TRAINING, lambda: stage_inputs(config))
        stages = Stages(config.folder, log)
        if inputs is not None and any(
            stages.stored(name, inputs[name], verify=thorough) is None
            for name in ("sources", "rankers")
        ):
            text = f"{config.folder} holds no rankers of this recipe and log; run 'muma train'"
            found.add(TRAINING, text)


def _live(config: AppConfig) -> str | None:
    """The version that was promoted, which must be there."""
    kept = versions_of(config)
    live = kept.pointer().live
    return kept.get(live).name if live else None


def _put_items(path: Path, found: _Found) -> set[str]:
    names: set[str] = set()
    if path.is_file():
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line's end was cut off
        for number, line in enumerate(lines, start=1):
            try:
                names.add(msgspec.json.decode(line, type=Item).item_id)
            except msgspec.MsgspecError as error:
                found.add("items", f"{path}, line {number}: no item ({error}); mend or remove it")
    return names


def _check_alone(config: AppConfig) -> None:
    """Nobody else may write the run's stream.

    Raises:
        StreamError: somebody does.
    """
    if not stream_folder(config).is_dir():
        return
    try:
        with closing(take_lock(stream_folder(config))):
            pass
    except StreamError:
        raise StreamError(
            f"{config.folder} is being served or streamed by another process; stop it first"
        ) from None
