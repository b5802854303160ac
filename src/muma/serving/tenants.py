"""Who is served: each tenant with its own engine, parts and pace, found by the key that asks.

A tenant never learns of another: whatever is not its own is not there (404). Users, items and rules
are apart because each tenant has its own parts. Request ids may meet in a log that tenants share, so
that a tenant can give them a prefix; the caller never sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from muma.errors import ConfigError
from muma.serving.consent.consent import Consents
from muma.serving.limits import LimitsConfig
from muma.serving.parts import (
    Audit,
    Decisions,
    Directory,
    Forgetting,
    Intake,
    Items,
    Models,
    RuleBook,
)
from muma.serving.recommending import Answer, Recommending
from muma.serving.rules.preview import Previews


@dataclass(frozen=True)
class Tenant:
    """One tenant; a part that is None is not offered (404).

    Attributes:
        name: as in its keys.
        engine: answers.
        intake: takes events.
        decisions: remembers answers.
        items: the catalogue.
        rules: the editors' rules.
        previews: what other rules would change.
        consents: what users agreed to.
        forgetting: erases users.
        models: which artifacts answer.
        audit: keeps who changed what.
        directory: names for a page.
        limits: pace of each of its keys.
        prefix: stands before its request ids inside.
    """

    name: str
    engine: Recommending
    intake: Intake | None = None
    decisions: Decisions | None = None
    items: Items | None = None
    rules: RuleBook | None = None
    previews: Previews | None = None
    consents: Consents | None = None
    forgetting: Forgetting | None = None
    models: Models | None = None
    audit: Audit | None = None
    directory: Directory | None = None
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    prefix: str = ""

    def inside(self, request_id: str) -> str:
        """A caller's request id as the parts know it."""
        return self.prefix + request_id

    def outside(self, answer: Answer) -> Answer:
        """An answer as the caller knows it."""
        if not self.prefix:
            return answer
        return replace(answer, request_id=answer.request_id.removeprefix(self.prefix))


class Tenants:
    """Tenants by name.

    Args:
        tenants: all of them.

    Raises:
        ConfigError: there is none, or two share a name, or a prefix of one begins another's.

    Example:
        >>> Tenants([])
        Traceback (most recent call last):
        muma.errors.ConfigError: a service needs a tenant; give at least one
    """

    def __init__(self, tenants: Iterable[Tenant]) -> None:
        listed = list(tenants)
        if not listed:
            raise ConfigError("a service needs a tenant; give at least one")
        self._by_name = {tenant.name: tenant for tenant in listed}
        if len(self._by_name) < len(listed):
            raise ConfigError(f"two tenants share a name: {sorted(t.name for t in listed)}")
        prefixes = sorted(tenant.prefix for tenant in listed)
        for one, next_one in pairwise(prefixes):
            if one and next_one.startswith(one):
                raise ConfigError(
                    f"prefix {one!r} begins {next_one!r}; end each with a sign of its own"
                )

    def get(self, name: str) -> Tenant | None:
        """A tenant, if there is one of this name."""
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[Tenant]:
        """All tenants."""
        return iter(self._by_name.values())
