"""What other rules would change, answered by the engine of the running service on its own models and state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from muma.app.service.consent import ConsentsHeld
from muma.app.service.running import Running
from muma.serving.engine import ServingEngine
from muma.serving.recommending import Ask
from muma.serving.rules.preview import Preview, preview
from muma.serving.rules.ruleset import RuleSet

PATIENCE_US = 100_000_000


class PreviewsHeld:
    """See `muma.serving.rules.preview.Previews`. Nothing of a preview is in the evidence log.

    Args:
        engine: whose models, items and policy answer; its rules are those in force.
        running: whose state is read.
        consents: what may be read of whom.
    """

    def __init__(self, engine: ServingEngine, running: Running, consents: ConsentsHeld) -> None:
        self._engine, self._running, self._consents = engine, running, consents

    def preview(self, rules: Sequence[Mapping[str, Any]], asks: Sequence[Ask]) -> Preview:
        """Answer under the rules in force and under these."""
        return self.between(RuleSet.parse(list(rules), own=()), asks)

    def between(self, new: RuleSet, asks: Sequence[Ask]) -> Preview:
        """Answer under the rules in force and under a set that was read before."""
        versions = self._engine.versions
        patient = [replace(self._consents.applied(ask), deadline_us=PATIENCE_US) for ask in asks]

        def under(rules: RuleSet) -> ServingEngine:
            running = self._running
            return ServingEngine(
                replace(versions, rules=rules), running.state, users=running.users,
                config=self._engine.config,
            )  # fmt: skip

        return preview(under, versions.rules, new, patient, facts=versions.facts)
