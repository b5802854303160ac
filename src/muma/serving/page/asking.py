"""What the page's address says: who looks, how much, and what came before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlencode

import msgspec
from litestar import Request

from muma.serving.http.body import read
from muma.serving.http.caller import Caller
from muma.serving.http.problem import Problem
from muma.serving.http.service import DoorConfig
from muma.serving.parts import Id
from muma.serving.recommending import Ask

FORM = "application/x-www-form-urlencoded"
DEADLINE_US = 2_000_000
"""A reader's patience is longer than a front page's: every part may speak."""
MOST_FIELDS = 300

Text = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*(?![\s\S])")]
Deed = Literal["watch", "like", "skip"]
Few = Annotated[tuple[Id, ...], msgspec.Meta(max_length=100)]


class View(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The page's query.

    Attributes:
        user: whose list; empty is an anonymous session.
        item: items taken in the anonymous session, oldest first.
        hide: items not wanted there.
        count: slots.
        profile: `off` leaves the user's own behaviour out.
        after: request id of the answer that was acted on.
        act: what was done there.
        on: the item it was done to.
        ms: how long it took until the features knew of it; -1 when they did not in time.
        key: a key, once.
    """

    user: Text = ""
    item: Few = ()
    hide: Few = ()
    count: Annotated[int, msgspec.Meta(ge=1, le=48)] = 12
    profile: Literal["on", "off"] = "on"
    after: Id | None = None
    act: Deed | None = None
    on: Id | None = None
    ms: Annotated[int, msgspec.Meta(ge=-1, le=600_000)] | None = None
    key: Text | None = None

    def address(self, **changed: Any) -> str:
        """The page's address with some fields changed; a key is never in it.

        Example:
            >>> View(user="a&b", count=6).address(count=12)
            '/?user=a%26b'
        """
        shown = msgspec.structs.replace(self, key=None, **changed)
        pairs: list[tuple[str, str]] = []
        for field in msgspec.structs.fields(View):
            value = getattr(shown, field.name)
            if value != field.default and value is not None:
                many = value if isinstance(value, tuple) else (value,)
                pairs += [(field.name, str(one)) for one in many]
        return "/" + (f"?{urlencode(pairs)}" if pairs else "")

    def here(self) -> View:
        """The same place without a past."""
        return msgspec.structs.replace(self, after=None, act=None, on=None, ms=None, key=None)


class Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A button of a card.

    Attributes:
        token: of the form.
        act: what is done.
        on: the item.
        position: its slot, from 0.
        request_id: of the answer it stands in.
        view: the query string of the page it was pressed on.
    """

    token: Text
    act: Deed
    on: Id
    position: Annotated[int, msgspec.Meta(ge=0, le=10_000)]
    request_id: Id
    view: Annotated[str, msgspec.Meta(max_length=60_000)] = ""


def ask_of(view: View, caller: Caller) -> Ask:
    """The ask behind a view."""
    return Ask(
        request_id=caller.tenant.inside(caller.request_id),
        time=caller.now,
        tenant=caller.tenant.name,
        user=view.user or None,
        session=() if view.user else view.item,
        count=view.count,
        exclude=() if view.user else view.hide,
        explain=True,
        profiling=view.profile == "on",
        deadline_us=DEADLINE_US,
    )


def view_of(query: str) -> View:
    """A view from a query string.

    Raises:
        Problem: it is none (422).
    """
    lists = ("item", "hide")
    given: dict[str, Any] = {}
    for name, value in _pairs(query.removeprefix("/").removeprefix("?")):
        if name in lists:
            given.setdefault(name, []).append(value)
        else:
            given[name] = value
    return _as(View, given)


async def form_of(request: Request, config: DoorConfig) -> dict[str, str]:
    """The fields of a form.

    Raises:
        Problem: 408, 413, 415 or 422.
    """
    raw = await read(request, config, media=FORM)
    try:
        return dict(_pairs(raw.decode("ascii")))
    except UnicodeDecodeError:
        raise Problem(422, "invalid", "a form is percent-encoded ASCII") from None


def act_of(form: Mapping[str, str]) -> Act:
    """What was pressed.

    Raises:
        Problem: 422.
    """
    return _as(Act, form)


def _as(kind: type[Any], given: Mapping[str, Any]) -> Any:
    try:
        return msgspec.convert(dict(given), kind, strict=False)
    except msgspec.ValidationError as error:
        text = str(error)
        if "matching regex" in text:
            text = "ids are 1 to 200 characters, without control characters"
        raise Problem(422, "invalid", text) from None


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except (ValueError, UnicodeDecodeError):
        raise Problem(422, "invalid", "the fields are too many or not UTF-8") from None
