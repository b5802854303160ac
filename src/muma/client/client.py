"""The client for programs without an event loop."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from muma.client.calls import Base, Call, Calls, Retries, decoded, request
from muma.errors import ServiceError
from muma.serving.http.answers import (
    AnswerBody,
    ConsentBody,
    DecisionBody,
    EventsBody,
    ItemsPutBody,
    ModelBody,
    PreviewBody,
    ReceiptBody,
    RulesBody,
    UserBody,
)
from muma.serving.parts import Event, Item

T = TypeVar("T")


class Client(Base):
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
        self._http = httpx.Client(**self.settings, transport=transport)

    def recommend(self, *, request_id: str | None = None, **wish: Any) -> AnswerBody:
        """A list; `wish` is the body of `POST /v1/recommendations`: user, count, filters ..."""
        return self._do(Calls.recommend(request_id, wish))

    def rank(
        self, items: Sequence[str], *, request_id: str | None = None, **wish: Any
    ) -> AnswerBody:
        """Items in order; `wish` as in `recommend`."""
        return self._do(Calls.rank(items, request_id, wish))

    def similar(self, item: str, **wish: Any) -> AnswerBody:
        """Items near another; `wish` is count, domains, region, age, explain."""
        return self._do(Calls.similar(item, wish))

    def send(self, events: Sequence[Event | Mapping[str, Any]]) -> EventsBody:
        """Events, up to 1,000; those that are refused are named in the answer."""
        return self._do(Calls.send(events))

    def user(self, user: str) -> UserBody:
        """What is known of a user."""
        return self._do(Calls.user(user))

    def consent(self, user: str) -> ConsentBody:
        """Which sources of data may be used of a user."""
        return self._do(Calls.consent(user))

    def put_consent(self, user: str, **said: bool | None) -> ConsentBody:
        """Say what a user agrees to: `gaze=True`, `social=False`, `behaviour=None` for the default."""
        return self._do(Calls.put_consent(user, said))

    def erase(self, user: str) -> ReceiptBody:
        """Erase a user."""
        return self._do(Calls.erase(user))

    def decision(self, request_id: str) -> DecisionBody:
        """The evidence of an answer."""
        return self._do(Calls.decision(request_id))

    def items(self, item_ids: Sequence[str]) -> tuple[Item, ...]:
        """Those of the items that exist."""
        return self._do(Calls.items(item_ids)).items

    def put_items(self, items: Sequence[Item | Mapping[str, Any]]) -> ItemsPutBody:
        """Add or replace items."""
        return self._do(Calls.put_items(items))

    def rules(self) -> RulesBody:
        """The rules in force, with their version."""
        return self._do(Calls.rules())

    def put_rules(self, rules: Sequence[Mapping[str, Any]], *, version: str) -> RulesBody:
        """Replace the rules of `version` (`*` is any)."""
        return self._do(Calls.put_rules(rules, version))

    def preview_rules(
        self, rules: Sequence[Mapping[str, Any]], users: Sequence[str], **wish: Any
    ) -> PreviewBody:
        """What other rules would change for some users; `wish` may hold count, context, region, age."""
        return self._do(Calls.preview_rules(rules, users, wish))

    def delete_rules(self, rule_id: str | None = None, *, version: str) -> RulesBody:
        """Delete one rule, or all when none is named."""
        return self._do(Calls.delete_rules(rule_id, version))

    def models(self) -> tuple[ModelBody, ...]:
        """Versions of the artifacts, newest first."""
        return self._do(Calls.models()).models

    def promote(self, version: str, *, force: bool = False) -> ModelBody:
        """Make a candidate the live version; `force` does whatever the gate finds."""
        return self._do(Calls.promote(version, force=force))

    def roll_back(self) -> ModelBody:
        """Make the previous version the live one."""
        return self._do(Calls.roll_back())

    def time(self) -> int:
        """Event time by the service's clock, microseconds; raises when it cannot serve."""
        return (self._do(Calls.ready())).time or 0

    def ready(self) -> bool:
        """Whether the service can serve; never raises because it cannot."""
        try:
            self._do(Calls.ready())
        except ServiceError:
            return False
        return True

    def _do(self, call: Call[T]) -> T:
        attempt = 0
        while True:
            try:
                got: httpx.Response | Exception = self._http.request(**request(call))
            except httpx.TransportError as error:
                got = error
            if isinstance(got, httpx.Response) and got.status_code == 200:
                return decoded(call, got)
            time.sleep(self.wait_s(call, attempt, got))
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
