"""The recipe's metrics, built and checked."""

from __future__ import annotations

from muma.app.config import AppConfig
from muma.config import Spec, build
from muma.errors import ConfigError
from muma.evaluation.metric import AggregateMetric, Metric, UserMetric


def metrics_of(config: AppConfig) -> tuple[list[Metric], UserMetric]:
    """Build the metrics and find the primary one.

    Raises:
        ConfigError: a metric does not measure lists, two share a name, or the primary one is not
            among them or reads more than lists and truth.
    """
    metrics = [
        build(Spec(use=m) if isinstance(m, str) else m, where="evaluation.metrics")
        for m in config.evaluation.metrics
    ]
    for metric in metrics:
        if not isinstance(metric, UserMetric | AggregateMetric):
            raise ConfigError(
                f"evaluation.metrics: {type(metric).__name__} does not measure lists; it has "
                "neither per_user nor aggregate with a depth k"
            )
    names = [metric.name for metric in metrics]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"evaluation.metrics: named twice: {', '.join(twice)}")
    fit_to_tune = [m for m in metrics if isinstance(m, UserMetric) and not m.needs]
    for metric in fit_to_tune:
        if metric.name == config.evaluation.primary:
            return metrics, metric
    names = [metric.name for metric in fit_to_tune]
    raise ConfigError(
        f"evaluation.primary = {config.evaluation.primary!r} is not one of the recipe's per-user "
        f"metrics of lists and truth alone: {', '.join(names)}"
    )
