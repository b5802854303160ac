"""The rules put to one request: what may be shown, what is preferred, which slots are open to whom.

Shape: N candidates, I items, R rules.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muma.errors import DataError
from muma.serving.recommending import Hit
from muma.serving.rules.bound import Bound
from muma.serving.rules.limits import Limit
from muma.serving.rules.rule import Case, Effect, Rule
from muma.serving.rules.slots import Pinned, Slots
from muma.serving.rules.standing import standing

NAMED = 20
_BLOCK = 4096


class Ruling:
    """One request's rules, in three uses and in this order; what they did is in `hits`.

    `allowed` tells what may be shown at all, `boosts` what is added to scores, `slots` which candidate
    may stand where. Candidates should hold the items of `pinned`, or their pins cannot be kept.
    """

    def __init__(self, rules: Sequence[Rule], bound: Bound, case: Case) -> None:
        self.case = case
        self._bound = bound
        self._held: dict[Effect, list[tuple[int, Rule]]] = {
            "forbid": [], "boost": [], "limit": [], "pin": [],
        }  # fmt: skip
        for r, rule in enumerate(rules):
            if rule.holds(case.ask):
                self._held[rule.effect].append((r, rule))
        self._removed: list[tuple[str, np.ndarray, np.ndarray | None]] | None = None
        self._boosted: list[tuple[str, np.ndarray]] = []
        self._slots: Slots | None = None
        self._allowed_I: np.ndarray | None = None
        self._item_N = np.empty(0, dtype=np.int64)

    def allowed(self, item_N: np.ndarray | None = None) -> np.ndarray:
        """What no rule, wish or limit of its own forbids.

        Args:
            item_N: dense items; None is every item.

        Returns:
            Boolean [N], or [I].

        Raises:
            DataError: an item is not of the catalogue.
        """
        n = len(self.case.facts) if item_N is None else len(item_N)
        out_N = np.zeros(n, dtype=bool)
        removed = []
        for name, forbidden_N in self._forbidding(item_N):
            out_N |= forbidden_N
            removed.append((name, forbidden_N, item_N))
        self._removed = removed
        if item_N is None:
            self._allowed_I = ~out_N
            return self._allowed_I.copy()
        return ~out_N

    def boosts(self, item_N: np.ndarray) -> np.ndarray:
        """Log-odds to add to the scores of candidates, float64 [N]."""
        total_N = np.zeros(len(item_N))
        self._boosted = []
        for r, rule in self._held["boost"]:
            touched_N = rule.touches(self.case, item_N, self._bound.fixed_RI[r, item_N])
            total_N[touched_N] += rule.log_odds()
            self._boosted.append((rule.id, item_N[touched_N]))
        return total_N

    def pinned(self) -> np.ndarray:
        """Dense items that pins want to see among the candidates and that are allowed, int64."""
        wanted = [self.case.facts.find(rule.config.item) for _, rule in self._held["pin"]]
        item_n = np.unique(np.array([item for item in wanted if item >= 0], dtype=np.int64))
        if not len(item_n):
            return item_n
        noted = self._removed
        item_n = item_n[self._allowed(item_n)]
        self._removed = noted
        return item_n

    def slots(self, item_N: np.ndarray, count: int | None = None) -> Slots:
        """The slots of the list.

        Args:
            item_N: dense candidates, each once; forbidden ones are open for no slot.
            count: slots; None is `Ask.count`.

        Raises:
            DataError: an item comes twice, or is not of the catalogue.
        """
        item_N = np.asarray(item_N, dtype=np.int64)
        if len(set(item_N.tolist())) < len(item_N):
            raise DataError("a candidate comes twice; give each item once")
        allowed_N = self._allowed(item_N)
        count = self.case.ask.count if count is None else count
        limits = []
        for r, rule in self._held["limit"]:
            touched_N = rule.touches(self.case, item_N, self._bound.fixed_RI[r, item_N])
            place_X, group_X = rule.groups(self.case, item_N)
            keep_X = (touched_N & allowed_N)[place_X]
            limits.append(Limit(rule.id, r, rule.bounds(count), place_X[keep_X], group_X[keep_X]))
        pins = [
            Pinned(rule.id, rule.config.slot, _place(item_N, allowed_N, self._find(rule)))
            for _, rule in self._held["pin"]
        ]
        self._item_N = item_N
        self._slots = Slots(allowed_N, count, limits, pins)
        return self._slots

    def hits(self) -> tuple[Hit, ...]:
        """What the rules did so far, in the order of the steps."""
        found = [
            hit
            for name, mask_N, item_N in self._removed or ()
            if (hit := self._hit(name, "removed", mask_N, item_N))
        ]
        for name, item_n in self._boosted:
            if len(item_n):
                found.append(Hit(name, "boosted", self._names(item_n), len(item_n)))
        if self._slots is not None:
            for (name, action), places in self._slots.notes.items():
                item_n = self._item_N[places]
                count = self._slots.short.get(name, 0) if action == "relaxed" else len(places)
                found.append(Hit(name, action, self._names(item_n), count))
            for name, action, places in self._slots.kept_out():
                found.append(Hit(name, action, self._names(self._item_N[places]), len(places)))
        return tuple(found)

    def moved_by(self, item_n: np.ndarray) -> list[tuple[str, ...]]:
        """Ids of the pins and boosts that put or moved each of some items, one tuple an item."""
        item_n = item_n.tolist()
        by: dict[int, list[str]] = {item: [] for item in item_n}
        for name, touched_n in self._boosted:
            for item in touched_n.tolist():
                if item in by:
                    by[item].append(name)
        if self._slots is not None:
            for (name, action), places in self._slots.notes.items():
                for place in places if action == "pinned" else ():
                    if (item := int(self._item_N[place])) in by:
                        by[item].append(name)
        return [tuple(by[item]) for item in item_n]

    def _allowed(self, item_N: np.ndarray) -> np.ndarray:
        """`allowed`, from what was told before if it was, and without a word of it in the hits then."""
        self._check(item_N)
        if self._allowed_I is not None:
            return self._allowed_I[item_N]
        noted = self._removed
        allowed_N = self.allowed(item_N)
        self._removed = self._removed if noted is None else noted
        return allowed_N

    def _check(self, item_N: np.ndarray) -> None:
        if len(item_N):
            low, high = int(item_N.min()), int(item_N.max())
            if low < 0 or high >= len(self.case.facts):
                raise DataError(
                    f"item {low if low < 0 else high} is not of the catalogue of "
                    f"{len(self.case.facts):,} items"
                )

    def _forbidding(self, item_N: np.ndarray | None) -> list[tuple[str, np.ndarray]]:
        if item_N is not None:
            self._check(item_N)
        found = list(standing(self.case, item_N))
        held = self._held["forbid"]
        if not held:
            return found
        fixed_RI = self._bound.fixed_RI
        if item_N is None:
            rows = [fixed_RI[r] for r, _ in held]
        else:
            row_r = np.array([r for r, _ in held])
            rows = list(fixed_RI[row_r[:, None], item_N])
        for (_, rule), fixed_N in zip(held, rows, strict=True):
            found.append(
                (rule.id, fixed_N if rule.timeless else rule.touches(self.case, item_N, fixed_N))
            )
        return found

    def _find(self, rule: Rule) -> int:
        return self.case.facts.find(rule.config.item)

    def _hit(
        self, name: str, action: str, mask_N: np.ndarray, item_N: np.ndarray | None
    ) -> Hit | None:
        count = int(np.count_nonzero(mask_N))
        if not count:
            return None
        first: list[int] = []
        for start in range(0, len(mask_N), _BLOCK):
            first += (start + np.flatnonzero(mask_N[start : start + _BLOCK])).tolist()
            if len(first) >= NAMED:
                break
        place_n = np.array(first[:NAMED], dtype=np.int64)
        return Hit(name, action, self._names(place_n if item_N is None else item_N[place_n]), count)

    def _names(self, item_n: np.ndarray) -> tuple[str, ...]:
        return self.case.facts.names(item_n[:NAMED])


def _place(item_N: np.ndarray, allowed_N: np.ndarray, item: int) -> int:
    """Place of an allowed candidate; -1 if it is not there."""
    found = np.flatnonzero((item_N == item) & allowed_N)
    return int(found[0]) if len(found) else -1
