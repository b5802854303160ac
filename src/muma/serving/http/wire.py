"""What is sent in: bodies and queries, strict and bounded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from muma.serving.parts import Context, Domain, Id, Item, Word

Words = Annotated[tuple[Word, ...], msgspec.Meta(max_length=100)]
Ids = Annotated[tuple[Id, ...], msgspec.Meta(max_length=1_000)]
Slots = Annotated[int, msgspec.Meta(ge=1, le=200)]
Years = Annotated[int, msgspec.Meta(ge=0, le=150)]
Millis = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class WireFilters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the caller wants to see, on top of the editors' rules; an empty field allows everything.

    Attributes:
        tags_any: an item needs one of them.
        tags_none: an item with one of them is left out.
        categories: an item's category is one of them.
        authors: an item's author is one of them.
    """

    tags_any: Words = ()
    tags_none: Words = ()
    categories: Words = ()
    authors: Words = ()


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every wish for a list may say.

    Attributes:
        user: the user's own id; without it the visitor is anonymous.
        session: items taken in this session, oldest first.
        domains: `news`, `video` ...; empty is all.
        context: of the request (page, device), by the names the recipe knows.
        region: of the visitor; without it items with regional rights are left out.
        age: years; without it only items for all are shown.
        filters: what the caller wants to see.
        exclude: items that must not appear.
        explain: whether sentences and attributions are wanted.
        profiling: false leaves the user's own behaviour out (DSA Art. 38).
        consent: what the user agreed to beyond clicks and plays.
        deadline_ms: what does not fit into it is left out, and said in `degraded`.
    """

    user: Id | None = None
    session: Ids = ()
    domains: Annotated[tuple[Domain, ...], msgspec.Meta(max_length=9)] = ()
    context: Context = {}
    region: Word | None = None
    age: Years | None = None
    filters: WireFilters = WireFilters()
    exclude: Ids = ()
    explain: bool = False
    profiling: bool = True
    consent: Annotated[tuple[Literal["gaze", "social"], ...], msgspec.Meta(max_length=2)] = ()
    deadline_ms: Millis = 50


class RecommendationRequest(Wish, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A wish for a list.

    Attributes:
        count: slots to fill.
    """

    count: Slots = 10


class RankRequest(Wish, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The caller's own items, to be put in order.

    Attributes:
        items: the candidates, in any order.
        count: slots to fill; without it as many as there are items, up to 200.
    """

    items: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=1_000)]
    count: Slots | None = None


class SimilarQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of `/v1/items/{item_id}/similar`; as in a request for recommendations."""

    count: Slots = 10
    domains: Annotated[tuple[Domain, ...], msgspec.Meta(max_length=9)] = ()
    region: Word | None = None
    age: Years | None = None
    explain: bool = False


class PromoteQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of `/v1/models/{version}/promote`; `force` puts it in place whatever the gate finds."""

    force: bool = False


class ItemsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of `GET /v1/items`."""

    item_id: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=200)]


class ItemsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Items to add or to replace."""

    items: Annotated[tuple[Item, ...], msgspec.Meta(min_length=1, max_length=1_000)]


class RulesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole set of rules; each is a table with `id`, `kind` and what its kind needs."""

    rules: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(max_length=1_000)]


class ConsentRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a user agrees to; a source that is left out stays as it is, null goes back to the default.

    Attributes:
        behaviour: what the user does with items.
        social: whom the user follows, and what those do.
        gaze: where the user's eyes rest.
    """

    behaviour: bool | msgspec.UnsetType | None = msgspec.UNSET
    social: bool | msgspec.UnsetType | None = msgspec.UNSET
    gaze: bool | msgspec.UnsetType | None = msgspec.UNSET


class PreviewRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules to be tried on some users; nothing is changed and nothing kept.

    Attributes:
        rules: the whole set, as it would be put.
        users: whose lists are compared, known or not.
        count: slots of each list.
        context: of the requests (page, device), by the names the recipe knows.
        region: of the visitors.
        age: years.
    """

    rules: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(max_length=1_000)]
    users: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=100)]
    count: Slots = 10
    context: Context = {}
    region: Word | None = None
    age: Years | None = None
