"""Frozen configs, TOML recipes, `--set a.b=c`, and components built from their import path.

A component's config is a `Config` beside the component; its constructor takes `config` as first
argument. A recipe names a component by its import path:

    [candidates.models.ease]
    use = "muma.candidates.ease.EASE"
    l2 = 300.0
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import re
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from muma.errors import ConfigError

C = TypeVar("C", bound="Config")

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class Config(BaseModel):
    """Base of every config: frozen, unknown keys refused, NaN refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )


class Spec(BaseModel):
    """A component by import path, with its parameters beside `use`."""

    model_config = ConfigDict(frozen=True, extra="allow")
    use: str

    @property
    def params(self) -> dict[str, Any]:
        """The parameters, as written in the recipe."""
        return dict(self.__pydantic_extra__ or {})


def parse(kind: type[C], data: Mapping[str, Any], *, where: str = "config") -> C:
    """Build a config from plain data.

    Raises:
        ConfigError: a key is unknown (the nearest known one is named) or a value is wrong.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(kind, error, where)) from None


def load_recipe(path: str | Path, *, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a TOML recipe and apply `a.b=c` overrides.

    Args:
        path: the recipe's file.
        overrides: assignments such as `"evaluation.k=20"`; the right side is a TOML value, or text.

    Raises:
        ConfigError: the file is missing or is not TOML, or an override has no `=`.
    """
    file = Path(path)
    try:
        data = _expanded(tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"recipe {file} does not exist; see recipes/ for examples") from None
    except OSError as error:
        raise ConfigError(
            f"recipe {file} cannot be read ({error.strerror}); name a .toml file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {file} is not valid TOML: {error}") from None
    for override in overrides:
        _assign(data, override)
    return data


def parse_assignments(texts: Sequence[str], *, option: str) -> dict[str, str]:
    """Turn `name=value` texts of a command-line option into a table.

    Raises:
        ConfigError: a text has no `=` or no name.

    Example:
        >>> parse_assignments(["user_id=uid"], option="--column")
        {'user_id': 'uid'}
    """
    pairs = [text.partition("=") for text in texts]
    for (name, separator, _), text in zip(pairs, texts, strict=True):
        if not (name and separator):
            raise ConfigError(f"{option} {text!r} is not of the form name=value")
    return {name: value for name, _, value in pairs}


def locate(use: str) -> type[Any]:
    """Import the class that an import path names.

    Raises:
        ConfigError: the module or the class does not exist.

    Example:
        >>> locate("muma.config.Config").__name__
        'Config'
    """
    module_name, _, name = use.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in use.split(".")):
        raise ConfigError(
            f"use = {use!r} is not an import path; write it as 'package.module.Class'"
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise ConfigError(f"use = {use!r}: there is no module {error.name!r}") from None
    if not inspect.isclass(found := getattr(module, name, None)):
        classes = [n for n, value in vars(module).items() if inspect.isclass(value)]
        raise ConfigError(
            f"use = {use!r}: {module_name} has no class {name!r}{_near(name, classes)}"
        )
    return found


def config_type(component: type[Any]) -> type[Config]:
    """Return the config class that a component's constructor takes.

    Raises:
        ConfigError: the constructor has no argument `config` annotated with a `Config`.
    """
    hints = typing.get_type_hints(component.__init__)
    candidates = [hints.get("config"), *typing.get_args(hints.get("config"))]
    for hint in candidates:
        if inspect.isclass(hint) and issubclass(hint, Config):
            return hint
    raise ConfigError(
        f"{component.__module__}.{component.__qualname__} cannot be used in a recipe: its "
        "constructor must take an argument 'config' annotated with a subclass of Config"
    )


def build(
    spec: Spec | Mapping[str, Any],
    *,
    where: str = "config",
    methods: Sequence[str] = (),
    **changes: Any,
) -> Any:
    """Build the component that `spec` names.

    Args:
        spec: `use` (import path of a class) and the keys of its config.
        where: place in the recipe, for messages.
        methods: what the component must be able to do.
        changes: parameters that override the ones in `spec`.

    Raises:
        ConfigError: there is no such class, it lacks a method, or its config is wrong.
    """
    if not isinstance(spec, Spec):
        if not isinstance(spec.get("use"), str):
            raise ConfigError(f"{where}: 'use' is missing; name the component's import path")
        spec = Spec.model_validate(dict(spec))
    component = locate(spec.use)
    if lacking := [name for name in methods if not callable(getattr(component, name, None))]:
        raise ConfigError(
            f"{where}: {spec.use} cannot stand here: it has no {' and no '.join(lacking)}"
        )
    params = {**spec.params, **changes}
    return component(parse(config_type(component), params, where=where))


def _expanded(value: Any) -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in texts by environment variables."""
    if isinstance(value, dict):
        return {key: _expanded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    return _VARIABLE.sub(_variable, value) if isinstance(value, str) else value


def _variable(found: re.Match[str]) -> str:
    value = os.environ.get(found[1]) or found[2]
    if value is None:
        raise ConfigError(f"the recipe needs the environment variable {found[1]}; set it")
    return value


def _assign(data: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not separator or not all(keys):
        raise ConfigError(f"--set {override!r} is not of the form a.b=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {override!r}: {key!r} is a value, not a section")
    data[keys[-1]] = value


def _explain(kind: type[BaseModel], error: ValidationError, where: str) -> str:
    lines = []
    for problem in error.errors():
        path = ".".join([where, *(str(part) for part in problem["loc"])])
        if problem["type"] == "extra_forbidden":
            known = _keys_at(kind, problem["loc"][:-1])
            key = str(problem["loc"][-1])
            lines.append(f"{path}: unknown key {key!r}{_near(key, known)}")
        else:
            lines.append(f"{path}: {problem['msg']} (got {problem['input']!r:.80})")
    return "\n".join(lines)


def _keys_at(kind: Any, loc: tuple[int | str, ...]) -> list[str]:
    for part in loc:
        field = kind.model_fields.get(part) if hasattr(kind, "model_fields") else None
        hints = [] if field is None else [field.annotation, *typing.get_args(field.annotation)]
        kind = next((h for h in hints if inspect.isclass(h) and issubclass(h, BaseModel)), None)
    return list(kind.model_fields) if kind is not None and hasattr(kind, "model_fields") else []


def _near(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; allowed: {', '.join(sorted(known))}" if known else ""
