"""Words and tags of an item, or the tags a user gave: word vectors from hashed pieces.

    x = sum_w idf(w) v_w / |sum_w idf(w) v_w|,   v_w = mean of the vectors of w's pieces,   z = A x + b

The vectors are learned from the catalogue (`words.py`) and frozen with the document frequencies;
a new item, even one whose words are all new, has a vector at once.

Shape: R entities with text, G buckets, K width of a word's vector, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from pydantic import Field
from scipy.sparse import diags_array
from torch import Tensor

from muma.errors import DataError
from muma.events.event import EventLog
from muma.fusion.encoder import Encoder, EncoderConfig, Entity
from muma.fusion.hashing import buckets_of
from muma.fusion.layers import generator, linear
from muma.fusion.rows import Rows
from muma.fusion.tables import KEYS, table_of
from muma.fusion.words import (
    incidence,
    piece_matrix,
    piece_vectors,
    pieces,
    tag_words,
    vocabulary,
    words_of,
)
from muma.rng import derive


class TextConfig(EncoderConfig):
    """Parameters of `TextEncoder`.

    Attributes:
        columns: columns of the items (or users) that are read; lists of texts are tags.
        tagged: column of `tag` events that holds the tag a user gave, for `entity = "user"`.
        vector: K.
        buckets: G.
        most_words: words that are told apart while learning.
        shortest: letters of the shortest n-gram, `<` and `>` included.
        longest: letters of the longest one.
    """

    name: str = "text"
    columns: tuple[str, ...] = ("title", "text", "tags")
    tagged: str = "ctx_tag"
    vector: int = Field(default=64, ge=1)
    buckets: int = Field(default=1 << 14, ge=1)
    most_words: int = Field(default=20_000, ge=1)
    shortest: int = Field(default=3, ge=1)
    longest: int = Field(default=5, ge=1)


class TextEncoder(Encoder):
    """Text through word vectors.

    Example:
        >>> from muma.testing.fusion_logs import media_log
        >>> TextEncoder(TextConfig(width=4)).fit(media_log())(torch.tensor([0])).shape
        torch.Size([1, 4])
    """

    piece_GK: Tensor
    idf_G: Tensor

    def __init__(self, config: TextConfig) -> None:
        super().__init__(config)
        self.text = config
        self._declare(dense=("text_RK",))
        self.register_buffer("piece_GK", torch.zeros(config.buckets, config.vector))
        self.register_buffer("idf_G", torch.zeros(config.buckets))
        self.out = linear(config.vector, config.width, generator(config.seed, config.name))

    def _learn(self, log: EventLog) -> None:
        documents = item_documents(log, self.text.columns)[1]
        if not documents and self.entity == "user":
            documents = user_documents(log, self.text)[1]
        if not documents:
            raise DataError(
                f"source {self.name!r}: no text in {', '.join(self.text.columns)}; leave it out"
            )
        config = self.text
        piece_GK = piece_vectors(
            documents,
            config.vector,
            derive(config.seed, config.name, "words"),
            buckets=config.buckets,
            most_words=config.most_words,
            shortest=config.shortest,
            longest=config.longest,
        )
        words = vocabulary(documents)
        count_V = np.asarray(incidence(documents, words).sum(axis=0))
        seen_G = np.zeros(config.buckets)
        np.maximum.at(seen_G, buckets_of([pieces(w)[0] for w in words], config.buckets), count_V)
        self._put("piece_GK", piece_GK)
        self._put("idf_G", np.log((1 + len(documents)) / (1 + seen_G)) + 0.1)

    def vectors(self, documents: Sequence[Sequence[str]]) -> np.ndarray:
        """Unit vectors of documents given as words, float32 [N, K]; zeros without any word."""
        config, words = self.text, vocabulary(documents)
        whole_V = buckets_of([pieces(word)[0] for word in words], config.buckets)
        idf_V = self.idf_G.cpu().numpy()[whole_V]
        split_VG = piece_matrix(
            words, config.buckets, shortest=config.shortest, longest=config.longest
        )
        word_VK = diags_array(idf_V) @ (split_VG @ self.piece_GK.cpu().numpy())
        sum_NK = incidence(documents, words) @ word_VK
        size_N1 = np.linalg.norm(sum_NK, axis=1, keepdims=True)
        return (sum_NK / np.where(size_N1 > 0, size_N1, 1)).astype(np.float32)

    def _read(self, log: EventLog) -> Rows:
        if self.entity == "item":
            index_R, documents = item_documents(log, self.text.columns)
        else:
            index_R, documents = user_documents(log, self.text)
        return Rows(index_R, {"text_RK": self.vectors(documents)})

    def _encode(self, slot_n: Tensor) -> Tensor:
        return self.out(self.get_buffer("text_RK")[slot_n])


def item_documents(log: EventLog, columns: Sequence[str]) -> tuple[np.ndarray, list[list[str]]]:
    """Items that have text, int64 [R], and the words of each."""
    return _documents(log, "item", columns)


def user_documents(log: EventLog, config: TextConfig) -> tuple[np.ndarray, list[list[str]]]:
    """Users that have text or gave tags, int64 [R], and the words of each."""
    index_R, documents = _documents(log, "user", config.columns)
    words = dict(zip(index_R.tolist(), documents, strict=True))
    if config.tagged in log.events.collect_schema().names():
        given = (
            log.events.filter((pl.col("kind") == "tag") & pl.col(config.tagged).is_not_null())
            .group_by("user_id")
            .agg(pl.col(config.tagged).cast(pl.String))
            .collect()
        )
        for user, tags in given.iter_rows():
            words[user] = words.get(user, []) + [w for tag in tags for w in tag_words(tag)]
    order = sorted(words)
    return np.array(order, dtype=np.int64), [words[user] for user in order]


def _documents(
    log: EventLog, entity: Entity, columns: Sequence[str]
) -> tuple[np.ndarray, list[list[str]]]:
    found = table_of(log, entity, columns)
    documents: list[list[str]] = [[] for _ in range(found.height)]
    for name in (name for name in columns if name in found.columns):
        column = found[name]
        for words, value in zip(documents, column, strict=True):
            if value is None:
                continue
            if isinstance(column.dtype, pl.List):
                words.extend(word for tag in value if tag for word in tag_words(tag))
            else:
                words.extend(words_of(str(value)))
    index = found[KEYS[entity]].to_list()
    kept = [(i, words) for i, words in zip(index, documents, strict=True) if words]
    return np.array([i for i, _ in kept], dtype=np.int64), [words for _, words in kept]
