"""What can be asked of a service, as plain calls; when a call is made again; what an answer means.

Nothing is sent here: the two clients send.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from muma.errors import ServiceError
from muma.serving.http.answers import (
    AnswerBody,
    ConsentBody,
    DecisionBody,
    EventsBody,
    HealthBody,
    ItemsBody,
    ItemsPutBody,
    ModelBody,
    ModelsBody,
    PreviewBody,
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
class Call(Generic[T]):
    """One request.

    Attributes:
        method: of HTTP.
        path: from the service's root, percent-encoded.
        kind: type of a good answer.
        body: sent as JSON; None sends none.
        query: of the address.
        headers: beside the client's own.
        twice: whether it does no harm to make it again.
    """

    method: str
    path: str
    kind: type[T]
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    twice: bool = True


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


class Calls:
    """What can be asked, as calls; nothing is sent here."""

    @staticmethod
    def recommend(request_id: str | None, wish: Mapping[str, Any]) -> Call[AnswerBody]:
        """A list."""
        headers = {"x-request-id": request_id or os.urandom(16).hex()}
        return Call("POST", "/v1/recommendations", AnswerBody, dict(wish), headers=headers)

    @staticmethod
    def rank(
        items: Sequence[str], request_id: str | None, wish: Mapping[str, Any]
    ) -> Call[AnswerBody]:
        """Items in order."""
        headers = {"x-request-id": request_id or os.urandom(16).hex()}
        body = {"items": list(items), **wish}
        return Call("POST", "/v1/rank", AnswerBody, body, headers=headers)

    @staticmethod
    def similar(item: str, wish: Mapping[str, Any]) -> Call[AnswerBody]:
        """Items near another."""
        path = _path("v1", "items", item, "similar")
        plain = {k: str(v).lower() if isinstance(v, bool) else v for k, v in wish.items()}
        return Call("GET", path, AnswerBody, query=plain)

    @staticmethod
    def send(events: Sequence[Event | Mapping[str, Any]]) -> Call[EventsBody]:
        """Events."""
        return Call("POST", "/v1/events", EventsBody, list(events))

    @staticmethod
    def user(user: str) -> Call[UserBody]:
        """What is known of a user."""
        return Call("GET", _path("v1", "users", user), UserBody)

    @staticmethod
    def consent(user: str) -> Call[ConsentBody]:
        """What a user agreed to."""
        return Call("GET", _path("v1", "users", user, "consent"), ConsentBody)

    @staticmethod
    def put_consent(user: str, said: Mapping[str, bool | None]) -> Call[ConsentBody]:
        """What a user agrees to."""
        return Call("PUT", _path("v1", "users", user, "consent"), ConsentBody, dict(said))

    @staticmethod
    def erase(user: str) -> Call[ReceiptBody]:
        """A user's end."""
        return Call("DELETE", _path("v1", "users", user), ReceiptBody)

    @staticmethod
    def decision(request_id: str) -> Call[DecisionBody]:
        """The evidence of an answer."""
        return Call("GET", _path("v1", "decisions", request_id), DecisionBody)

    @staticmethod
    def items(item_ids: Sequence[str]) -> Call[ItemsBody]:
        """Items by id."""
        return Call("GET", "/v1/items", ItemsBody, query={"item_id": list(item_ids)})

    @staticmethod
    def put_items(items: Sequence[Item | Mapping[str, Any]]) -> Call[ItemsPutBody]:
        """Items to store."""
        return Call("PUT", "/v1/items", ItemsPutBody, {"items": list(items)})

    @staticmethod
    def rules() -> Call[RulesBody]:
        """The rules in force."""
        return Call("GET", "/v1/rules", RulesBody)

    @staticmethod
    def put_rules(rules: Sequence[Mapping[str, Any]], version: str) -> Call[RulesBody]:
        """A new set of rules."""
        headers, body = {"if-match": _tag(version)}, {"rules": list(rules)}
        return Call("PUT", "/v1/rules", RulesBody, body, headers=headers, twice=False)

    @staticmethod
    def preview_rules(
        rules: Sequence[Mapping[str, Any]], users: Sequence[str], wish: Mapping[str, Any]
    ) -> Call[PreviewBody]:
        """What other rules would change."""
        body = {"rules": list(rules), "users": list(users), **wish}
        return Call("POST", "/v1/rules/preview", PreviewBody, body)

    @staticmethod
    def delete_rules(rule_id: str | None, version: str) -> Call[RulesBody]:
        """One rule's end, or the end of all."""
        path = "/v1/rules" if rule_id is None else _path("v1", "rules", rule_id)
        headers = {"if-match": _tag(version)}
        return Call("DELETE", path, RulesBody, headers=headers, twice=False)

    @staticmethod
    def models() -> Call[ModelsBody]:
        """Versions of the artifacts."""
        return Call("GET", "/v1/models", ModelsBody)

    @staticmethod
    def promote(version: str, *, force: bool = False) -> Call[ModelBody]:
        """A candidate goes live."""
        path, query = _path("v1", "models", version, "promote"), {"force": "true"} if force else {}
        return Call("POST", path, ModelBody, query=query, twice=False)

    @staticmethod
    def roll_back() -> Call[ModelBody]:
        """Back to the version before."""
        return Call("POST", "/v1/models/rollback", ModelBody, twice=False)

    @staticmethod
    def ready() -> Call[HealthBody]:
        """Whether it can serve."""
        return Call("GET", "/readyz", HealthBody)


def _tag(version: str) -> str:
    return version if version == "*" else f'"{version}"'


class Base:
    """What both clients hold: where the service is, the key, and their patience."""

    def __init__(
        self, url: str, *, key: str, timeout_s: float = 10.0, retries: Retries | None = None
    ) -> None:
        self.settings: dict[str, Any] = {
            "base_url": checked_url(url),
            "timeout": timeout_s,
            "headers": {"authorization": f"Bearer {key}", "accept": "application/json"},
        }
        self.retries = Retries() if retries is None else retries
        self.url = url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"  # the key is nobody's business

    def wait_s(self, call: Call[Any], attempt: int, got: httpx.Response | Exception) -> float:
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


def checked_url(url: str) -> str:
    """The address, if it is one of a service.

    Raises:
        ServiceError: it is none.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ServiceError(f"{url!r} is no address of a service: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ServiceError(f"{url!r} is no address of a service; write http://127.0.0.1:8000")
    return url


def request(call: Call[Any]) -> dict[str, Any]:
    """A call as the arguments of httpx."""
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


def decoded(call: Call[T], got: httpx.Response) -> T:
    """A good answer as its type.

    Raises:
        ServiceError: it is of another form.
    """
    try:
        return msgspec.json.decode(got.content, type=call.kind)
    except msgspec.DecodeError as error:
        raise ServiceError(
            f"{call.method} {call.path}: the answer is not of the expected form ({error}); "
            "client and service must be of like versions",
            status=got.status_code,
        ) from None


def _give_up(call: Call[Any], got: httpx.Response | Exception, attempt: int) -> NoReturn:
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
