"""From the wire to an `Ask`."""

from __future__ import annotations

from muma.serving.http.caller import Caller
from muma.serving.http.wire import RankRequest, RecommendationRequest, SimilarQuery
from muma.serving.recommending import Ask, Filters


def ask_of(wish: RecommendationRequest | RankRequest, caller: Caller) -> Ask:
    """The ask of a body; time, tenant and id are the service's word, never the sender's."""
    candidates = wish.items if isinstance(wish, RankRequest) else None
    count = wish.count or min(len(candidates or ()), 200)
    chosen = wish.filters
    return Ask(
        request_id=caller.tenant.inside(caller.request_id),
        time=caller.now,
        tenant=caller.tenant.name,
        user=wish.user,
        session=wish.session,
        count=count,
        context=wish.context,
        region=wish.region,
        age=wish.age,
        filters=Filters(
            domains=wish.domains,
            tags_any=chosen.tags_any,
            tags_none=chosen.tags_none,
            categories=chosen.categories,
            authors=chosen.authors,
        ),
        exclude=wish.exclude,
        candidates=candidates,
        explain=wish.explain,
        profiling=wish.profiling,
        consent=wish.consent,
        deadline_us=wish.deadline_ms * 1_000,
    )


def ask_near(wish: SimilarQuery, caller: Caller) -> Ask:
    """The ask of a query for similar items; nobody's behaviour is in it."""
    return Ask(
        request_id=caller.tenant.inside(caller.request_id),
        time=caller.now,
        tenant=caller.tenant.name,
        count=wish.count,
        region=wish.region,
        age=wish.age,
        filters=Filters(domains=wish.domains),
        explain=wish.explain,
        profiling=False,
    )
