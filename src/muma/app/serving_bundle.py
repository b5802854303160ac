"""A finished training as what a service answers with, and as a version that is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from muma.app.attributes import item_attributes, user_attributes
from muma.app.config import AppConfig
from muma.app.context import request_context
from muma.app.features import compile_features
from muma.app.serving_lists import words_of
from muma.app.stages import KIND, VERSION, Stages, models_of
from muma.app.training import TABLES, ranking_of, stage_inputs
from muma.app.versions import KeptVersions, Version
from muma.artifact import Artifact
from muma.candidates.storage import artifact_within
from muma.config import parse
from muma.errors import ArtifactError, ConfigError
from muma.events.event import EventLog
from muma.ranking.multi import MultiRanker
from muma.ranking.sentences import SentencesConfig
from muma.serving.bundle import Bundle


def versions_of(config: AppConfig) -> KeptVersions:
    """The versions of a recipe's run."""
    return KeptVersions(config.folder / "models")


def live_version(config: AppConfig, log: EventLog) -> Version:
    """The version that the pointer names; without a pointer, what the recipe was trained to last.

    Args:
        config: the recipe.
        log: the recipe's own log.

    Raises:
        ArtifactError: the training does not exist, or belongs to another recipe or log.
        ConfigError: the recipe has no `[ranking]`, or no such sequence.
        UnknownIdError: the pointer names a version that is gone.
    """
    kept = versions_of(config)
    return kept.get(kept.pointer().live or keep_training(config, log).name)


def keep_training(config: AppConfig, log: EventLog) -> Version:
    """Keep what `muma train` left as a version, unless it is kept already; older ones go.

    Raises:
        ArtifactError: the training does not exist, or belongs to another recipe or log.
        ConfigError: the recipe has no `[ranking]`, or no such sequence.
    """
    section = ranking_of(config)
    stages, inputs = Stages(config.folder, log), stage_inputs(config)
    sources, rankers = _trained(config, stages, inputs, verify=False)
    about: dict[str, Any] = {
        "features": compile_features(config).columns,
        "item_attributes": section.item_attributes,
        "user_attributes": section.user_attributes,
        "context": section.context,
        "signal": dict(config.candidates.signal.kinds),
        "mask_taken": config.evaluation.mask_seen,
        "pool": section.pool,
        "words": SentencesConfig(words=words_of(config)).model_dump(mode="json"),
        "learned_until": int(sources.meta["known_before"]),
    }
    finished = (rankers.folder / "manifest.json").stat().st_mtime_ns // 1_000
    version = Version(_digest(about, sources, rankers), finished, log.fingerprint, about)
    kept = versions_of(config)
    if all(
        one.name != version.name for one in kept.list()
    ):  # one that is kept is checked when it is read
        _trained(config, stages, inputs, verify=True)
    found = kept.keep(version, {"sources": sources, "rankers": rankers})
    kept.retain(config.serving.keep_versions, never=[found.name])
    return found


def _trained(
    config: AppConfig, stages: Stages, inputs: Mapping[str, Mapping[str, Any]], *, verify: bool
) -> tuple[Artifact, Artifact]:
    """The sources and rankers of the training.

    Raises:
        ArtifactError: they do not exist, or are of another recipe or log.
    """
    names = ("sources", "rankers")
    sources, rankers = (stages.stored(name, inputs[name], verify=verify) for name in names)
    if sources is None or rankers is None:
        raise ArtifactError(
            f"{config.folder} holds no rankers of this recipe and log; run 'muma train'"
        )
    return sources, rankers


def version_bundle(config: AppConfig, log: EventLog, version: Version) -> Bundle:
    """Read a kept version.

    Args:
        config: the recipe of the service, which keeps the features.
        log: the recipe's own log.
        version: one of `versions_of(config)`.

    Raises:
        ArtifactError: it is damaged, learned from another log, or reads features that the service does
            not keep.
        ConfigError: the recipe has no such sequence, or a source that a service cannot use.
    """
    kept, about = versions_of(config), version.about
    plan = compile_features(config)
    if config.serving.history not in config.features.sequences:
        known = ", ".join(config.features.sequences) or "none"
        raise ConfigError(
            f"serving.history = {config.serving.history!r} is no sequence of [features.sequences]; "
            f"there are: {known}"
        )
    if tuple(about["features"]) != plan.columns:
        odd = sorted(set(about["features"]) ^ set(plan.columns))
        what = f"differing in {', '.join(odd[:5])}" if odd else "in another order"
        raise ArtifactError(
            f"version {version.name} reads other features than this service keeps ({what}); serve it "
            "with the recipe that it was trained by"
        )
    if version.log != log.fingerprint:
        raise ArtifactError(
            f"version {version.name} learned from another log than {config.folder / 'log'}; its items "
            "have other numbers"
        )
    sources, rankers = (
        kept.part(version.name, part, kind=KIND, version=VERSION) for part in ("sources", "rankers")
    )
    present = [t for t in TABLES if any(n.startswith(f"{t}/") for n in rankers.files)]
    return Bundle(
        version=version.name,
        learned_until=about["learned_until"],
        sources=models_of(sources, log),
        rankers={t: MultiRanker.load(artifact_within(rankers, t)) for t in present},
        features=plan.columns,
        item_IA=item_attributes(log, about["item_attributes"]).value_XA,
        user_UA=user_attributes(log, about["user_attributes"]).value_XA,
        context=request_context(log, about["context"]).of_request,
        sequence=config.serving.history,
        signal=about["signal"],
        mask_taken=about["mask_taken"],
        pool=config.serving.pool or about["pool"],
        words=parse(SentencesConfig, about["words"], where=f"words of version {version.name}"),
    )


def _digest(about: dict[str, Any], *parts: Artifact) -> str:
    """Names what was trained: a digest of what an answer needs, and of the files' digests."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for part in parts:
        for name in sorted(part.files):
            digest.update(f"{name} {part.files[name]}".encode())
    return digest.hexdigest()[:12]
