"""The client for programs with an event loop."""

from __future__ import annotations

import asyncio
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


class AsyncClient(Base):
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
        self._http = httpx.AsyncClient(**self.settings, transport=transport)

    async def recommend(self, *, request_id: str | None = None, **wish: Any) -> AnswerBody:
        """A list."""
        return await self._do(Calls.recommend(request_id, wish))

    async def rank(
        self, items: Sequence[str], *, request_id: str | None = None, **wish: Any
    ) -> AnswerBody:
        """Items in order."""
        return await self._do(Calls.rank(items, request_id, wish))

    async def similar(self, item: str, **wish: Any) -> AnswerBody:
        """Items near another."""
        return await self._do(Calls.similar(item, wish))

    async def send(self, events: Sequence[Event | Mapping[str, Any]]) -> EventsBody:
        """Events, up to 1,000."""
        return await self._do(Calls.send(events))

    async def user(self, user: str) -> UserBody:
        """What is known of a user."""
        return await self._do(Calls.user(user))

    async def consent(self, user: str) -> ConsentBody:
        """Which sources of data may be used of a user."""
        return await self._do(Calls.consent(user))

    async def put_consent(self, user: str, **said: bool | None) -> ConsentBody:
        """Say what a user agrees to: `gaze=True`, `social=False`, `behaviour=None` for the default."""
        return await self._do(Calls.put_consent(user, said))

    async def erase(self, user: str) -> ReceiptBody:
        """Erase a user."""
        return await self._do(Calls.erase(user))

    async def decision(self, request_id: str) -> DecisionBody:
        """The evidence of an answer."""
        return await self._do(Calls.decision(request_id))

    async def items(self, item_ids: Sequence[str]) -> tuple[Item, ...]:
        """Those of the items that exist."""
        return (await self._do(Calls.items(item_ids))).items

    async def put_items(self, items: Sequence[Item | Mapping[str, Any]]) -> ItemsPutBody:
        """Add or replace items."""
        return await self._do(Calls.put_items(items))

    async def rules(self) -> RulesBody:
        """The rules in force."""
        return await self._do(Calls.rules())

    async def put_rules(self, rules: Sequence[Mapping[str, Any]], *, version: str) -> RulesBody:
        """Replace the rules of `version`."""
        return await self._do(Calls.put_rules(rules, version))

    async def preview_rules(
        self, rules: Sequence[Mapping[str, Any]], users: Sequence[str], **wish: Any
    ) -> PreviewBody:
        """What other rules would change for some users; `wish` may hold count, context, region, age."""
        return await self._do(Calls.preview_rules(rules, users, wish))

    async def delete_rules(self, rule_id: str | None = None, *, version: str) -> RulesBody:
        """Delete one rule, or all."""
        return await self._do(Calls.delete_rules(rule_id, version))

    async def models(self) -> tuple[ModelBody, ...]:
        """Versions of the artifacts."""
        return (await self._do(Calls.models())).models

    async def promote(self, version: str, *, force: bool = False) -> ModelBody:
        """Make a candidate the live version; `force` does whatever the gate finds."""
        return await self._do(Calls.promote(version, force=force))

    async def roll_back(self) -> ModelBody:
        """Make the previous version the live one."""
        return await self._do(Calls.roll_back())

    async def time(self) -> int:
        """Event time by the service's clock, microseconds; raises when it cannot serve."""
        return (await self._do(Calls.ready())).time or 0

    async def ready(self) -> bool:
        """Whether the service can serve."""
        try:
            await self._do(Calls.ready())
        except ServiceError:
            return False
        return True

    async def _do(self, call: Call[T]) -> T:
        attempt = 0
        while True:
            try:
                got: httpx.Response | Exception = await self._http.request(**request(call))
            except httpx.TransportError as error:
                got = error
            if isinstance(got, httpx.Response) and got.status_code == 200:
                return decoded(call, got)
            await asyncio.sleep(self.wait_s(call, attempt, got))
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
