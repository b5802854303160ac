"""A table of who was treated: a design judged on balance, then, once, the outcome.

The outcome's column is read only after the design has been frozen and written to `design.json`. The folder
keeps `openings.jsonl`, one line a look, so that a later run knows what was seen before.

Shape: N rows, F covariates.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from muma.errors import ConfigError, SchemaError, SourceError
from muma.evaluation.causal.design import Design, DesignConfig, make_design
from muma.evaluation.causal.frozen import Effect
from muma.evaluation.causal.search import SearchConfig, search_design
from muma.evaluation.causal.study import Opening, Study, digest, study_of
from muma.report.balance import draw_balance
from muma.report.overlap import draw_overlap


@dataclass(frozen=True)
class Matched:
    """What was found.

    Attributes:
        design: the design; its outcome may not have been opened.
        effect: the effect; None without an outcome.
        threshold: the largest standardised difference that counts as balanced.
    """

    design: Design
    effect: Effect | None
    threshold: float

    def as_json(self) -> dict[str, Any]:
        """Plain data; what is undefined is None."""
        effect = None if self.effect is None else self.effect.as_json()
        return {**design_json(self.design, self.threshold), "effect": effect}


def match_data(
    path: str | Path,
    *,
    treatment: str,
    covariates: Sequence[str],
    outcome: str | None = None,
    terms: Sequence[str] | None = None,
    config: DesignConfig | None = None,
    search: SearchConfig | None = None,
    folder: str | Path = "runs/match",
) -> Matched:
    """Design on balance, write the design, then open the outcome if one is named.

    Args:
        path: CSV (also .gz) or Parquet.
        treatment: column of 0 / 1 or booleans.
        covariates: columns known before the treatment; texts become indicators of their values.
        outcome: numeric column; None only designs.
        terms: the specification; None searches for one.
        config: the design's options.
        search: the search's options; its threshold is the verdict's too.
        folder: where `design.json`, `effect.json` and `openings.jsonl` go; made if missing.

    Raises:
        ConfigError: the outcome or the treatment is among the covariates, or a term is wrong.
        SourceError: the file cannot be read.
        SchemaError: a column is missing, has missing values or the wrong type.
        DataError: treatment is not 0 / 1, or there is no overlap.
    """
    search, folder = search or SearchConfig(), Path(folder)
    for name in (treatment, outcome):
        if name in covariates:
            raise ConfigError(
                f"{name!r} is among the covariates; they must be known before the treatment and cannot "
                "be treatment or outcome"
            )
    study = read_study(path, treatment=treatment, covariates=covariates)
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "openings.jsonl"
    study.openings.extend(_earlier(record, study))
    if terms is None:
        design = search_design(study, config, search)
    else:
        design = make_design(study, config, terms)
    _write(folder / "design.json", design_json(design, search.threshold))
    (folder / "effect.json").unlink(missing_ok=True)
    if outcome is None:
        return Matched(design, None, search.threshold)
    effect = design.freeze().estimate(_read_outcome(path, outcome), name=outcome)
    with record.open("a", encoding="utf-8") as lines:
        look = {"units": digest(study.treated_N), **vars(study.openings[-1])}
        lines.write(json.dumps(look) + "\n")
    _write(folder / "effect.json", effect.as_json())
    return Matched(design, effect, search.threshold)


def read_study(path: str | Path, *, treatment: str, covariates: Sequence[str]) -> Study:
    """Read treatment and covariates; no other column is looked at.

    Raises:
        ConfigError: there is no covariate.
        SourceError: the file cannot be read.
        SchemaError: a column is missing, has missing values or the wrong type.
        DataError: treatment is not 0 / 1.
    """
    if not covariates:
        raise ConfigError("name the covariates: columns that were known before the treatment")
    table = _read(path, [treatment, *covariates])
    columns: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(covariates):
        values = table[name]
        if values.dtype in {pl.String, pl.Categorical} or isinstance(values.dtype, pl.Enum):
            texts = values.cast(pl.String)
            for level in texts.unique().sort().to_list():
                columns[f"{name}[{level}]"] = (texts == level).to_numpy().astype(np.float64)
        else:
            columns[name] = _numbers(path, values)
    return study_of(
        _numbers(path, table[treatment]), np.stack(list(columns.values()), axis=1), list(columns)
    )


def design_json(design: Design, threshold: float) -> dict[str, Any]:
    """A design as plain data."""
    return {
        "design": design.fingerprint,
        "study": design.study.fingerprint,
        "blind": design.blind,
        "config": design.config.model_dump(mode="json"),
        "terms": list(design.terms.terms),
        "dropped_terms": list(design.terms.dropped),
        "path": [vars(step) for step in design.path],
        "balanced": design.balance.largest < threshold,
        "largest_smd_before": _finite(design.balance.largest_before),
        "largest_smd": _finite(design.balance.largest),
        "left_out": design.left_out,
        "balance": design.balance.as_json(),
        "overlap": design.overlap.as_json(),
    }


def draw(found: Matched, folder: str | Path, *, name: str) -> list[Path]:
    """Draw balance and overlap into the folder.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    places = [Path(folder) / f"{kind}.png" for kind in ("balance", "overlap")]
    title = f"{name}: balance, design {found.design.fingerprint}"
    draw_balance(found.design.balance, places[0], title=title, threshold=found.threshold)
    draw_overlap(found.design.overlap, places[1], title=f"{name}: overlap")
    return places


def _read(path: str | Path, columns: Sequence[str]) -> pl.DataFrame:
    file = Path(path)
    if not file.is_file():
        raise SourceError("there is no such file; name a CSV or Parquet file", file=str(path))
    kind = file.suffixes[-2:] if file.suffix == ".gz" else file.suffixes[-1:]
    try:
        if kind == [".parquet"]:
            lazy = pl.scan_parquet(file)
        elif kind[:1] == [".csv"]:
            lazy = pl.scan_csv(file, infer_schema_length=None)
        else:
            raise SourceError(f"{file.suffix!r} is not read; give .csv or .parquet", file=str(path))
        known = lazy.collect_schema().names()
        if lacking := [name for name in columns if name not in known]:
            raise SchemaError(
                f"{path}: there is no column {lacking[0]!r}; there are: {', '.join(known)}"
            )
        table = lazy.select(list(dict.fromkeys(columns))).collect()
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"cannot be read: {error}", file=str(path)) from None
    for column in table:
        if missing := column.null_count():
            row = int(column.is_null().arg_max() or 0)
            raise SchemaError(
                f"{path}: column {column.name!r} has no value in row {row + 1} ({missing} in all); leave "
                "out or fill those rows, and add an indicator of what was filled"
            )
    return table


def _numbers(path: str | Path, column: pl.Series) -> np.ndarray:
    if column.dtype != pl.Boolean and not column.dtype.is_numeric():
        raise SchemaError(
            f"{path}: column {column.name!r} holds {column.dtype}; numbers or booleans are needed"
        )
    return column.cast(pl.Float64).to_numpy()


def _read_outcome(path: str | Path, name: str) -> np.ndarray:
    return _numbers(path, _read(path, [name])[name])


def _earlier(record: Path, study: Study) -> list[Opening]:
    """Looks at outcomes of these units in earlier runs, whatever covariates were named then."""
    if not record.exists():
        return []
    units = digest(study.treated_N)
    lines = record.read_text(encoding="utf-8").splitlines()
    try:
        looks = [json.loads(line) for line in lines if line.strip()]
        return [
            Opening(look["design"], look["outcome"], look["name"])
            for look in looks
            if look["units"] == units
        ]
    except (ValueError, KeyError, TypeError):
        raise SourceError(
            "is not a record of openings; move it away or name another folder", file=str(record)
        ) from None


def _write(path: Path, data: dict[str, Any]) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    shutil.move(beside, path)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
