"""What rules would change, from a trained recipe whose service is not running."""

from __future__ import annotations

from collections.abc import Sequence

from muma.app.config import AppConfig
from muma.app.service.make import open_service
from muma.app.service.parts import Names
from muma.serving.http.answers import PreviewBody
from muma.serving.http.previewing import told
from muma.serving.recommending import Ask
from muma.serving.rules.ruleset import RuleSet


def preview_recipe(
    config: AppConfig,
    rules: RuleSet,
    users: Sequence[str],
    *,
    count: int = 10,
    most_users: int = 20,
) -> PreviewBody:
    """What rules would change for some users, from a trained recipe whose service is not running.

    Args:
        config: the recipe.
        rules: the whole set.
        users: raw ids; none takes known ones.
        count: slots of a list.
        most_users: so many, when `users` is empty.

    Raises:
        ArtifactError: the recipe was not trained.
        StreamError, StoreError: its service is running, or something is damaged.
    """
    opened = open_service(config, time_of="log")
    try:
        users = users or Names(opened.engine, opened.running).users("", most_users)
        now = opened.clock()
        asks = [Ask(f"preview:{user}", now, user=user, count=count) for user in users]
        return told(opened.previews.between(rules, asks))
    finally:
        opened.close()
