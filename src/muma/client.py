"""A client of the service, for programs in Python: `Client`, and `AsyncClient` with the same methods.

A call that may safely be made twice is made again when the service is busy, away or slow: reading,
asking for a list (the request id stays the same), sending events (each has its id), storing items,
erasing. Changes of rules and models are made once, unless the connection never came about.

    >>> from muma.client import Client
    >>> client = Client("http://127.0.0.1:8000", key="muma_...")     # doctest: +SKIP
    >>> client.recommend(user="u1", count=5).items[0].item           # doctest: +SKIP
    'n2'
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from muma.errors import ServiceError
from muma.serving.http.answers import (
    AnswerBody,
    DecisionBody,
    EventsBody,
    HealthBody,
    ItemsBody,
    ItemsPutBody,
    ModelBody,
    ModelsBody,
    ProblemBody,
    ReceiptBody,
    RulesBody,
    UserBody,
)
from muma.serving.parts import Event, Item

T = TypeVar("T")
AGAIN = {408, 429, 503}


@dataclass(frozen=True)
class Retries:
    """How often and how patiently a call is made again.

    Attributes:
        times: at most so many more times.
        first_s: pause before the first; each next one is twice as long, and up to so much is random.
        most_s: longest pause, also when the service asks for a longer one: then the call fails.
    """

    times: int = 3
    first_s: float = 0.1
    most_s: float = 5.0

    def pause_s(self, attempt: int, asked_s: float) -> float:
        """Seconds to wait after attempt number `attempt`, from 0."""
        grown = min(self.most_s, self.first_s * 2**attempt)
        return max(asked_s, grown * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


@dataclass(frozen=True)
class _Call(Generic[T]):
    method: str
    path: str
    kind: type[T]
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    twice: bool = True


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


class _Calls:
    """What can be asked, as calls; nothing is sent here."""

    @staticmethod
    def recommend(request_id: str | None, wish: Mapping[str, Any]) -> _Call[AnswerBody]:
        headers = {"x-request-id": request_id or os.urandom(16).hex()}
        return _Call("POST", "/v1/recommendations", AnswerBody, dict(wish), headers=headers)

    @staticmethod
    def rank(
        items: Sequence[str], request_id: str | None, wish: Mapping[str, Any]
    ) -> _Call[AnswerBody]:
        headers = {"x-request-id": request_id or os.urandom(16).hex()}
        body = {"items": list(items), **wish}
        return _Call("POST", "/v1/rank", AnswerBody, body, headers=headers)

    @staticmethod
    def similar(item: str, wish: Mapping[str, Any]) -> _Call[AnswerBody]:
        path = _path("v1", "items", item, "similar")
        plain = {k: str(v).lower() if isinstance(v, bool) else v for k, v in wish.items()}
        return _Call("GET", path, AnswerBody, query=plain)

    @staticmethod
    def send(events: Sequence[Event | Mapping[str, Any]]) -> _Call[EventsBody]:
        return _Call("POST", "/v1/events", EventsBody, list(events))

    @staticmethod
    def user(user: str) -> _Call[UserBody]:
        return _Call("GET", _path("v1", "users", user), UserBody)

    @staticmethod
    def erase(user: str) -> _Call[ReceiptBody]:
        return _Call("DELETE", _path("v1", "users", user), ReceiptBody)

    @staticmethod
    def decision(request_id: str) -> _Call[DecisionBody]:
        return _Call("GET", _path("v1", "decisions", request_id), DecisionBody)

    @staticmethod
    def items(item_ids: Sequence[str]) -> _Call[ItemsBody]:
        return _Call("GET", "/v1/items", ItemsBody, query={"item_id": list(item_ids)})

    @staticmethod
    def put_items(items: Sequence[Item | Mapping[str, Any]]) -> _Call[ItemsPutBody]:
        return _Call("PUT", "/v1/items", ItemsPutBody, {"items": list(items)})

    @staticmethod
    def rules() -> _Call[RulesBody]:
        return _Call("GET", "/v1/rules", RulesBody)

    @staticmethod
    def put_rules(rules: Sequence[Mapping[str, Any]], version: str) -> _Call[RulesBody]:
        headers, body = {"if-match": _tag(version)}, {"rules": list(rules)}
        return _Call("PUT", "/v1/rules", RulesBody, body, headers=headers, twice=False)

    @staticmethod
    def delete_rules(rule_id: str | None, version: str) -> _Call[RulesBody]:
        path = "/v1/rules" if rule_id is None else _path("v1", "rules", rule_id)
        headers = {"if-match": _tag(version)}
        return _Call("DELETE", path, RulesBody, headers=headers, twice=False)

    @staticmethod
    def models() -> _Call[ModelsBody]:
        return _Call("GET", "/v1/models", ModelsBody)

    @staticmethod
    def promote(version: str) -> _Call[ModelBody]:
        return _Call("POST", _path("v1", "models", version, "promote"), ModelBody, twice=False)

    @staticmethod
    def roll_back() -> _Call[ModelBody]:
        return _Call("POST", "/v1/models/rollback", ModelBody, twice=False)

    @staticmethod
    def ready() -> _Call[HealthBody]:
        return _Call("GET", "/readyz", HealthBody)


def _tag(version: str) -> str:
    return version if version == "*" else f'"{version}"'


class _Base:
    def __init__(
        self, url: str, *, key: str, timeout_s: float = 10.0, retries: Retries | None = None
    ) -> None:
        self._settings: dict[str, Any] = {
            "base_url": url,
            "timeout": timeout_s,
            "headers": {"authorization": f"Bearer {key}", "accept": "application/json"},
        }
        self.retries = Retries() if retries is None else retries
        self.url = url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"  # the key is nobody's business

    def _wait_s(self, call: _Call[Any], attempt: int, got: httpx.Response | Exception) -> float:
        """Seconds until the next attempt; raises when there is none."""
        asked_s = 0.0
        if isinstance(got, httpx.Response):
            again = call.twice and got.status_code in AGAIN
            asked_s = _seconds(got.headers.get("retry-after"))
        else:
            again = call.twice or isinstance(got, httpx.ConnectError | httpx.ConnectTimeout)
        if not again or attempt >= self.retries.times or asked_s > self.retries.most_s:
            _give_up(call, got, attempt)
        return self.retries.pause_s(attempt, asked_s)


class Client(_Base):
    """Talks to a service.

    Args:
        url: of the service, `http://127.0.0.1:8000`.
        key: an API key.
        timeout_s: longest wait for each step of a call, seconds.
        retries: how often a call is made again.
        transport: of httpx, for tests.

    Raises (every method):
        ServiceError: the service answered with a problem, or not at all.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str,
        timeout_s: float = 10.0,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, key=key, timeout_s=timeout_s, retries=retries)
        with _clear(url):
            self._http = httpx.Client(**self._settings, transport=transport)

    def recommend(self, *, request_id: str | None = None, **wish: Any) -> AnswerBody:
        """A list; `wish` is the body of `POST /v1/recommendations`: user, count, filters ..."""
        return self._do(_Calls.recommend(request_id, wish))

    def rank(
        self, items: Sequence[str], *, request_id: str | None = None, **wish: Any
    ) -> AnswerBody:
        """Items in order; `wish` as in `recommend`."""
        return self._do(_Calls.rank(items, request_id, wish))

    def similar(self, item: str, **wish: Any) -> AnswerBody:
        """Items near another; `wish` is count, domains, region, age, explain."""
        return self._do(_Calls.similar(item, wish))

    def send(self, events: Sequence[Event | Mapping[str, Any]]) -> EventsBody:
        """Events, up to 1,000; those that are refused are named in the answer."""
        return self._do(_Calls.send(events))

    def user(self, user: str) -> UserBody:
        """What is known of a user."""
        return self._do(_Calls.user(user))

    def erase(self, user: str) -> ReceiptBody:
        """Erase a user."""
        return self._do(_Calls.erase(user))

    def decision(self, request_id: str) -> DecisionBody:
        """The evidence of an answer."""
        return self._do(_Calls.decision(request_id))

    def items(self, item_ids: Sequence[str]) -> tuple[Item, ...]:
        """Those of the items that exist."""
        return self._do(_Calls.items(item_ids)).items

    def put_items(self, items: Sequence[Item | Mapping[str, Any]]) -> ItemsPutBody:
        """Add or replace items."""
        return self._do(_Calls.put_items(items))

    def rules(self) -> RulesBody:
        """The rules in force, with their version."""
        return self._do(_Calls.rules())

    def put_rules(self, rules: Sequence[Mapping[str, Any]], *, version: str) -> RulesBody:
        """Replace the rules of `version` (`*` is any)."""
        return self._do(_Calls.put_rules(rules, version))

    def delete_rules(self, rule_id: str | None = None, *, version: str) -> RulesBody:
        """Delete one rule, or all when none is named."""
        return self._do(_Calls.delete_rules(rule_id, version))

    def models(self) -> tuple[ModelBody, ...]:
        """Versions of the artifacts, newest first."""
        return self._do(_Calls.models()).models

    def promote(self, version: str) -> ModelBody:
        """Make a candidate the live version."""
        return self._do(_Calls.promote(version))

    def roll_back(self) -> ModelBody:
        """Make the previous version the live one."""
        return self._do(_Calls.roll_back())

    def ready(self) -> bool:
        """Whether the service can serve; never raises because it cannot."""
        try:
            self._do(_Calls.ready())
        except ServiceError:
            return False
        return True

    def _do(self, call: _Call[T]) -> T:
        attempt = 0
        while True:
            try:
                got: httpx.Response | Exception = self._http.request(**_request(call))
            except httpx.TransportError as error:
                got = error
            if isinstance(got, httpx.Response) and got.status_code == 200:
                return _decoded(call, got)
            time.sleep(self._wait_s(call, attempt, got))
            attempt += 1

    def close(self) -> None:
        """Let go of the connections; safe to call twice."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient(_Base):
    """`Client` for programs with an event loop: the same methods, to be awaited.

    Args:
        url: of the service.
        key: an API key.
        timeout_s: longest wait for each step of a call, seconds.
        retries: how often a call is made again.
        transport: of httpx, for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str,
        timeout_s: float = 10.0,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, key=key, timeout_s=timeout_s, retries=retries)
        with _clear(url):
            self._http = httpx.AsyncClient(**self._settings, transport=transport)

    async def recommend(self, *, request_id: str | None = None, **wish: Any) -> AnswerBody:
        """A list."""
        return await self._do(_Calls.recommend(request_id, wish))

    async def rank(
        self, items: Sequence[str], *, request_id: str | None = None, **wish: Any
    ) -> AnswerBody:
        """Items in order."""
        return await self._do(_Calls.rank(items, request_id, wish))

    async def similar(self, item: str, **wish: Any) -> AnswerBody:
        """Items near another."""
        return await self._do(_Calls.similar(item, wish))

    async def send(self, events: Sequence[Event | Mapping[str, Any]]) -> EventsBody:
        """Events, up to 1,000."""
        return await self._do(_Calls.send(events))

    async def user(self, user: str) -> UserBody:
        """What is known of a user."""
        return await self._do(_Calls.user(user))

    async def erase(self, user: str) -> ReceiptBody:
        """Erase a user."""
        return await self._do(_Calls.erase(user))

    async def decision(self, request_id: str) -> DecisionBody:
        """The evidence of an answer."""
        return await self._do(_Calls.decision(request_id))

    async def items(self, item_ids: Sequence[str]) -> tuple[Item, ...]:
        """Those of the items that exist."""
        return (await self._do(_Calls.items(item_ids))).items

    async def put_items(self, items: Sequence[Item | Mapping[str, Any]]) -> ItemsPutBody:
        """Add or replace items."""
        return await self._do(_Calls.put_items(items))

    async def rules(self) -> RulesBody:
        """The rules in force."""
        return await self._do(_Calls.rules())

    async def put_rules(self, rules: Sequence[Mapping[str, Any]], *, version: str) -> RulesBody:
        """Replace the rules of `version`."""
        return await self._do(_Calls.put_rules(rules, version))

    async def delete_rules(self, rule_id: str | None = None, *, version: str) -> RulesBody:
        """Delete one rule, or all."""
        return await self._do(_Calls.delete_rules(rule_id, version))

    async def models(self) -> tuple[ModelBody, ...]:
        """Versions of the artifacts."""
        return (await self._do(_Calls.models())).models

    async def promote(self, version: str) -> ModelBody:
        """Make a candidate the live version."""
        return await self._do(_Calls.promote(version))

    async def roll_back(self) -> ModelBody:
        """Make the previous version the live one."""
        return await self._do(_Calls.roll_back())

    async def ready(self) -> bool:
        """Whether the service can serve."""
        try:
            await self._do(_Calls.ready())
        except ServiceError:
            return False
        return True

    async def _do(self, call: _Call[T]) -> T:
        attempt = 0
        while True:
            try:
                got: httpx.Response | Exception = await self._http.request(**_request(call))
            except httpx.TransportError as error:
                got = error
            if isinstance(got, httpx.Response) and got.status_code == 200:
                return _decoded(call, got)
            await asyncio.sleep(self._wait_s(call, attempt, got))
            attempt += 1

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()


@contextmanager
def _clear(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.InvalidURL as error:
        raise ServiceError(f"{url!r} is no address of a service: {error}") from None


def _request(call: _Call[Any]) -> dict[str, Any]:
    headers = dict(call.headers)
    content = None
    if call.body is not None:
        content = msgspec.json.encode(call.body)
        headers["content-type"] = "application/json"
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.query) or None,
        "content": content,
        "headers": headers,
    }


def _decoded(call: _Call[T], got: httpx.Response) -> T:
    try:
        return msgspec.json.decode(got.content, type=call.kind)
    except msgspec.DecodeError as error:
        raise ServiceError(
            f"{call.method} {call.path}: the answer is not of the expected form ({error}); "
            "client and service must be of like versions",
            status=got.status_code,
        ) from None


def _give_up(call: _Call[Any], got: httpx.Response | Exception, attempt: int) -> NoReturn:
    tried = "" if attempt == 0 else f" after {attempt + 1} attempts"
    where = f"{call.method} {call.path}"
    if isinstance(got, Exception):
        raise ServiceError(f"{where}: no answer{tried} ({type(got).__name__}: {got})") from got
    try:
        told = msgspec.json.decode(got.content, type=ProblemBody)
    except msgspec.DecodeError:
        raise ServiceError(
            f"{where}: status {got.status_code}{tried}", status=got.status_code
        ) from None
    listed = tuple(
        fault.reason if fault.index is None else f"[{fault.index}] {fault.reason}"
        for fault in told.errors
    )
    raise ServiceError(
        f"{where}: {told.status} {told.title}{tried}: {told.detail} (request {told.request_id})",
        status=told.status,
        kind=told.kind.removeprefix("urn:muma:"),
        request_id=told.request_id,
        errors=listed,
    )


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:  # a date: the pause is ours to choose
        return 0.0
