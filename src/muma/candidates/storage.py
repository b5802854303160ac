"""How models lie in an artifact: a config as JSON, arrays as `.npz`, a sub-folder per member."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
from scipy.sparse import csr_array

from muma.artifact import Artifact, Writer
from muma.config import Config, parse

C = TypeVar("C", bound=Config)

CONFIG = "config.json"


def save_config(writer: Writer, config: Config) -> None:
    """Write `config` beside the arrays."""
    writer.path(CONFIG).write_text(config.model_dump_json(indent=1), encoding="utf-8")


def load_config(artifact: Artifact, kind: type[C]) -> C:
    """Read what `save_config` wrote."""
    path = artifact.path(CONFIG)
    return parse(kind, json.loads(path.read_text(encoding="utf-8")), where=str(path))


def writer_within(writer: Writer, folder: str) -> Writer:
    """A writer whose files land in a sub-folder of the same artifact."""
    return Writer(writer.root / folder)


def artifact_within(artifact: Artifact, folder: str) -> Artifact:
    """The part of an artifact that `writer_within` wrote."""
    start = f"{folder}/"
    files = {n.removeprefix(start): f for n, f in artifact.files.items() if n.startswith(start)}
    return replace(artifact, root=artifact.root / folder, files=files)


def pack(matrix: csr_array) -> dict[str, np.ndarray]:
    """The arrays of a sparse matrix.

    Example:
        >>> unpack(pack(csr_array(np.eye(2)))).toarray().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    shape = np.array(matrix.shape)
    return {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": shape}


def unpack(arrays: Mapping[str, np.ndarray]) -> csr_array:
    """The sparse matrix whose arrays `pack` made."""
    rows, columns = arrays["shape"].tolist()
    cells = (arrays["data"], arrays["indices"], arrays["indptr"])
    return csr_array(cells, shape=(rows, columns))
