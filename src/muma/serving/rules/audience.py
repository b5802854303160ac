"""Which requests a rule is for."""

from __future__ import annotations

from muma.config import Config
from muma.serving.recommending import Ask


class Audience(Config):
    """Requests that pass every field that is given.

    Attributes:
        domains: the caller asks for one of these domains, by `Filters.domains`.
        regions: the visitor is in one of these.
        contexts: name -> values; the request's context has one of the values.
        users: own ids of users.
    """

    domains: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    contexts: dict[str, tuple[str | float, ...]] = {}
    users: tuple[str, ...] = ()

    def covers(self, ask: Ask, *, unknown: bool) -> bool:
        """Whether a request belongs to the audience.

        Args:
            ask: the request.
            unknown: what to take a domain, region or context for that the request does not tell. Rules
                that forbid take it for one of theirs, so that silence opens nothing.
        """
        if self.users and ask.user not in self.users:
            return False
        if self.regions and (not unknown if ask.region is None else ask.region not in self.regions):
            return False
        if self.domains and (
            not set(self.domains) & set(ask.filters.domains) if ask.filters.domains else not unknown
        ):
            return False
        for name, values in self.contexts.items():
            if name not in ask.context:
                if not unknown:
                    return False
            elif ask.context[name] not in values:
                return False
        return True

    def meets(self, other: Audience) -> bool:
        """Whether one request may belong to both."""
        pairs = [
            (self.domains, ()),  # a request may ask for several domains
            (self.regions, other.regions),
            (self.users, other.users),
            *((values, other.contexts.get(name, ())) for name, values in self.contexts.items()),
        ]
        return all(not a or not b or bool(set(a) & set(b)) for a, b in pairs)
