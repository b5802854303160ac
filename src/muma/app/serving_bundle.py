"""A finished training as what a service answers with."""

from __future__ import annotations

import hashlib

from muma.app.attributes import item_attributes, user_attributes
from muma.app.config import AppConfig
from muma.app.context import request_context
from muma.app.features import compile_features
from muma.app.serving_lists import words_of
from muma.app.stages import Stages, models_of
from muma.app.training import TABLES, ranking_of, stage_inputs
from muma.artifact import Artifact
from muma.candidates.storage import artifact_within
from muma.errors import ArtifactError, ConfigError
from muma.events.event import EventLog
from muma.ranking.multi import MultiRanker
from muma.ranking.sentences import SentencesConfig
from muma.serving.bundle import Bundle


def bundle_of(config: AppConfig, log: EventLog) -> Bundle:
    """Read the sources and rankers that `muma train` left.

    Args:
        config: the recipe.
        log: the recipe's own log.

    Raises:
        ArtifactError: the training does not exist, or belongs to another recipe or log.
        ConfigError: the recipe has no `[ranking]`, no such sequence, or a source that a service cannot use.
    """
    section = ranking_of(config)
    stages, about = Stages(config.folder, log), stage_inputs(config)
    sources, rankers = (stages.stored(name, about[name]) for name in ("sources", "rankers"))
    if sources is None or rankers is None:
        raise ArtifactError(
            f"{config.folder} holds no rankers of this recipe and log; run 'muma train'"
        )
    if config.serving.history not in config.features.sequences:
        known = ", ".join(config.features.sequences) or "none"
        raise ConfigError(
            f"serving.history = {config.serving.history!r} is no sequence of [features.sequences]; "
            f"there are: {known}"
        )
    plan = compile_features(config)
    present = [t for t in TABLES if any(n.startswith(f"{t}/") for n in rankers.files)]
    return Bundle(
        version=_version(sources, rankers),
        learned_until=int(sources.meta["known_before"]),
        sources=models_of(sources, log),
        rankers={t: MultiRanker.load(artifact_within(rankers, t)) for t in present},
        features=plan.columns,
        item_IA=item_attributes(log, section.item_attributes).value_XA,
        user_UA=user_attributes(log, section.user_attributes).value_XA,
        context=request_context(log, section.context).of_request,
        sequence=config.serving.history,
        signal=config.candidates.signal.kinds,
        mask_taken=config.evaluation.mask_seen,
        pool=section.pool,
        words=SentencesConfig(words=words_of(config)),
    )


def _version(*parts: Artifact) -> str:
    """Names what was trained: a digest of the files' digests."""
    digest = hashlib.sha256()
    for part in parts:
        for name in sorted(part.files):
            digest.update(f"{name} {part.files[name]}".encode())
    return digest.hexdigest()[:12]
