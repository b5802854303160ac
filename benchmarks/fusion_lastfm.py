"""Last.fm for `fusion.py`: folds, episodes, one recommender, and what it ranks.

Every user is warm in four of the five folds and cold in one. Of a warm user a fifth of the plays is
held out; of a cold user all but one to four. A cold user is never trained on. Tags a user gave to a
held-out artist are removed, and an artist's own tags are counted without them. A friend's held-out plays
are removed too. Artists with a single listener are left out: nothing can find them but chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import svds
from torch import Tensor, nn

from muma.candidates.ease import EASE, EASEConfig
from muma.evaluation.full_ranking import evaluate
from muma.evaluation.metrics.ndcg import NDCG
from muma.events.event import EventLog
from muma.events.ingest import ingest
from muma.events.log_folder import open_log
from muma.events.sources.lastfm import LastFm, LastFmConfig
from muma.events.vocabulary import Vocabulary
from muma.fusion.fusion import Fusion, FusionConfig
from muma.fusion.layers import generator, linear
from muma.rng import derive

FOLDS = 5
HELD_OUT = 0.2
BATCH = 128
LISTENERS = 2
MOST_KNOWN = 4  # plays of a cold user at inference
TOP_TAGS = 5
ENCODERS = "muma.fusion.encoders"
ARTIST_TAGS = {
    "use": f"{ENCODERS}.history.HistoryEncoder",
    "kinds": ["play"],
    "items": {"use": f"{ENCODERS}.text.TextEncoder", "columns": ["tags"]},
}
PLAYS = {"use": f"{ENCODERS}.history.HistoryEncoder", "kinds": ["play"]}
SOURCES = {
    "plays": PLAYS,
    "friends": {
        "use": f"{ENCODERS}.social.SocialEncoder",
        "norm": "mean",
        "layers": 1,
        "base": PLAYS,
    },
    "tags": ARTIST_TAGS,
    "own_tags": {"use": f"{ENCODERS}.text.TextEncoder", "columns": ["tags"], "entity": "user"},
}


@dataclass(frozen=True)
class Settings:
    """One way to train; the same ways are tried with every set of sources."""

    sources: tuple[str, ...]
    decay: float
    epochs: int = 60
    learning_rate: float = 5e-3
    width: int = 128
    dropout: float = 0.5
    source_dropout: float = 0.1


DECAYS = (0.1, 0.3, 1.0)
SETS = {
    "plays": [Settings(("plays",), decay) for decay in DECAYS],
    "fused": [Settings(tuple(SOURCES), decay) for decay in DECAYS],
}


@dataclass(frozen=True)
class Fold:
    """What is known, and what is to be found; user indices are rows.

    Attributes:
        log: the log with the known plays and tags only.
        truth: held-out plays, bool [U, I].
        known: known plays, bool [U, I].
        warm_U: users that are trained on and asked with all they have.
        cold_U: users that are new and asked with at most four plays.
    """

    log: EventLog
    truth: csr_array
    known: csr_array
    warm_U: np.ndarray
    cold_U: np.ndarray


def load(data: Path, folder: Path) -> EventLog:
    """The data set through the project's own ingestion, artists with two listeners or more."""
    ingest(LastFm(LastFmConfig(path=str(data / "lastfm-hetrec2011"))), folder)
    log = open_log(folder)
    events = log.events.collect()
    counts = events.filter(pl.col("kind") == "play").group_by("item_id").len()
    kept = counts.filter(pl.col("len") >= LISTENERS)["item_id"].sort()
    index = pl.DataFrame({"item_id": kept, "place": np.arange(len(kept), dtype=np.uint32)})

    def renumbered(frame: pl.DataFrame) -> pl.LazyFrame:
        joined = frame.join(index, on="item_id", how="inner", maintain_order="left")
        return joined.with_columns(item_id="place").drop("place").lazy()

    names = Vocabulary(pl.Series("id", log.item_ids.decode(kept)))
    return replace(log, events=renumbered(events), items=renumbered(log.items.collect()),
                   social=log.social.collect().lazy(), item_ids=names)  # fmt: skip


def fold(log: EventLog, number: int, *, within: np.ndarray | None = None, seed: int = 1) -> Fold:
    """Fold `number` of the users of `log`, or of the users `within` for tuning."""
    rng = derive(seed, "fold", "tune" if within is not None else "test", number)
    plays = log.events.filter(pl.col("kind") == "play").collect()
    user_E = plays["user_id"].to_numpy().astype(np.int64)
    item_E = plays["item_id"].to_numpy().astype(np.int64)
    users = np.arange(log.n_users) if within is None else within
    order = derive(seed, "folds").permutation(users)
    cold = np.zeros(log.n_users, dtype=bool)
    cold[order[number::FOLDS]] = True
    asked = np.isin(np.arange(log.n_users), users)
    # rank of each play in a random order of its user's
    drawn_E = rng.random(len(user_E))
    by = np.lexsort((drawn_E, user_E))
    rank_E = np.empty(len(user_E), dtype=np.int64)
    rank_E[by] = np.arange(len(by)) - np.searchsorted(user_E[by], user_E[by])
    count_U = np.bincount(user_E, minlength=log.n_users)
    some_U = rng.integers(1, MOST_KNOWN + 1, size=log.n_users)
    most_U = np.where(cold, some_U, np.ceil((1 - HELD_OUT) * count_U).astype(int))
    known_E = (rank_E < most_U[user_E]) & asked[user_E]
    hidden_E = (rank_E >= most_U[user_E]) & asked[user_E]

    def matrix(keep_E: np.ndarray) -> csr_array:
        cells = (np.ones(keep_E.sum()), (user_E[keep_E], item_E[keep_E]))
        return csr_array(cells, shape=(log.n_users, log.n_items))

    truth = matrix(hidden_E)
    kept = reduced(log, user_E, item_E, known_E)
    has = np.diff(truth.indptr) > 0
    return Fold(kept, truth, matrix(known_E).astype(bool),
                np.flatnonzero(asked & ~cold & has), np.flatnonzero(asked & cold & has))  # fmt: skip


def reduced(log: EventLog, user_E: np.ndarray, item_E: np.ndarray, known_E: np.ndarray) -> EventLog:
    """The log without the plays that are not known, and without tags given to those artists."""
    hidden = pl.DataFrame(
        {
            "user_id": user_E[~known_E].astype(np.uint32),
            "item_id": item_E[~known_E].astype(np.uint32),
        }
    )
    events = log.events.collect().join(hidden, on=["user_id", "item_id"], how="anti",
                                       maintain_order="left")  # fmt: skip
    tags = (
        events.filter((pl.col("kind") == "tag") & pl.col("ctx_tag").is_not_null())
        .group_by("item_id", "ctx_tag")
        .len()
        .sort("item_id", "len", "ctx_tag", descending=[False, True, False])
        .group_by("item_id", maintain_order=True)
        .agg(pl.col("ctx_tag").head(TOP_TAGS).alias("tags"))
    )
    items = log.items.drop("tags").collect().join(tags, on="item_id", how="left")
    return replace(log, events=events.lazy(), items=items.lazy())


class Recommender(nn.Module):
    """Fused user vector times a learned item table, plus a bias an item."""

    def __init__(self, settings: Settings, fold: Fold, seed: int) -> None:
        super().__init__()
        width, several = settings.width, len(settings.sources) > 1
        self.settings = settings
        given = {
            "encoders": {name: SOURCES[name] for name in settings.sources},
            "width": width,
            "context": 1,
            "seed": seed,
            "fuser": {
                "use": "muma.fusion.fusers.attention.AttentionFuser",
                "source_dropout": settings.source_dropout if several else 0.0,
            },
        }
        self.fusion = Fusion(FusionConfig.model_validate(given)).fit(fold.log)
        self.head = linear(width, fold.truth.shape[1], generator(seed, "items"))
        self.drop = nn.Dropout(settings.dropout)
        own = self.fusion.encoder("plays")
        if "friends" in settings.sources:  # friends' plays are read as the user's own are
            heard = self.fusion.encoder("friends").base
            heard.item_ID, heard.out = own.item_ID, own.out
        count_I = np.asarray(fold.known.sum(axis=0))
        vector_ID = torch.from_numpy(spectral(fold.known, width, seed))
        with torch.no_grad():
            own.item_ID[: len(vector_ID)] = vector_ID
            own.out.weight.copy_(2 * torch.eye(width))
            self.head.weight.copy_(vector_ID)
            self.head.bias.copy_(torch.from_numpy(np.log(count_I + 0.1)))

    def forward(self, user_B: Tensor, known_B: Tensor, fusion: Fusion | None = None) -> Tensor:
        context_BC = torch.log1p(known_B.float())[:, None]
        fused = (fusion or self.fusion)(None, user_B, context_BC)
        return self.head(self.drop(torch.tanh(fused.vector_ND)))


def spectral(known: csr_array, width: int, seed: int) -> np.ndarray:
    """Item vectors of the normalised play matrix, unit variance: where every table starts."""
    count_U = np.maximum(np.asarray(known.sum(axis=1)), 1)
    count_I = np.maximum(np.asarray(known.sum(axis=0)), 1)
    scaled = diags_array(count_U**-0.5) @ known.astype(float) @ diags_array(count_I**-0.5)
    start = derive(seed, "spectral").normal(size=min(scaled.shape))
    _, size, right = svds(scaled, k=width, v0=start)
    vector_ID = right.T * np.sqrt(size)
    # rare artists have few plays to be wrong with: their rows are small by themselves
    return (0.3 * vector_ID / vector_ID.std()).astype(np.float32)


@dataclass(frozen=True)
class Episode:
    """A random part of what is known is shown, the rest is the target.

    Attributes:
        rows: the buffers of all encoders but the friends', as they are with only that part known.
        known_U: shown plays of each user.
        target: the plays that are hidden, float32 [U, I].
    """

    rows: dict[str, Tensor]
    known_U: np.ndarray
    target: csr_array


def episodes(fold: Fold, seed: int, count: int) -> list[Episode]:
    """Draw some; half of the users of each show as few plays as cold ones do.

    Friends keep all they are known to have played: a user's own plays never enter through them.
    """
    fusion = Recommender(SETS["fused"][0], fold, seed).fusion
    rng = derive(seed, "episodes")
    return [_episode(fusion, fold, rng) for _ in range(count)]


def _episode(fusion: Fusion, fold: Fold, rng: np.random.Generator) -> Episode:
    whole, count_U = fold.known.tocoo(), np.diff(fold.known.indptr)
    few_U = rng.random(len(count_U)) < 0.5
    many_U = np.ceil(0.9 * count_U * rng.random(len(count_U))).astype(int)
    kept_U = np.where(few_U, rng.integers(1, MOST_KNOWN + 1, len(count_U)), many_U)
    rank = rng.random(whole.nnz)
    by = np.lexsort((rank, whole.row))
    rank[by] = np.arange(whole.nnz) - np.searchsorted(whole.row[by], whole.row[by])
    shown = rank < kept_U[whole.row]
    part = reduced(fold.log, whole.row, whole.col, shown)
    for name in SOURCES:
        if name != "friends":
            fusion.encoder(name).update(part, keep=False)
    rows = {name: held for name, held in fusion.named_buffers() if "friends" not in name}
    cells = (np.ones((~shown).sum(), np.float32), (whole.row[~shown], whole.col[~shown]))
    return Episode(rows, np.minimum(kept_U, count_U), csr_array(cells, shape=fold.known.shape))


def install(model: Recommender, rows: dict[str, Tensor]) -> None:
    """Let the encoders hold these rows."""
    for path, held in rows.items():
        parent, _, name = path.rpartition(".")
        if path.split(".")[1] in model.settings.sources:
            model.fusion.get_submodule(parent).register_buffer(name, held)


def train(settings: Settings, fold: Fold, seed: int, pool: list[Episode]) -> Recommender:
    """Multinomial cross-entropy on the plays that an episode hides from its inputs."""
    torch.manual_seed(int(derive(seed, "fusion benchmark").integers(2**62)))
    rng = derive(seed, "batches")
    model = Recommender(settings, fold, seed)
    whole = dict(model.fusion.named_buffers())
    users = fold.warm_U[np.diff(fold.known.indptr)[fold.warm_U] > MOST_KNOWN]
    parts = -(-len(users) // BATCH)
    adam = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        adam, settings.learning_rate, total_steps=settings.epochs * parts
    )
    model.train()
    for epoch in range(settings.epochs):
        shown = pool[epoch % len(pool)]
        install(model, shown.rows)
        for batch in np.array_split(rng.permutation(users), parts):
            target = torch.from_numpy(shown.target[batch].toarray())
            target = target / target.sum(dim=1, keepdim=True).clamp(min=1)
            logits = model(torch.from_numpy(batch), torch.from_numpy(shown.known_U[batch]))
            loss = -(target * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
    install(model, whole)
    return model.eval()


def ndcg(
    model: Recommender, fold: Fold, users: np.ndarray, without: str | None = None
) -> np.ndarray:
    """NDCG@10 of each user, all artists ranked, known plays masked."""
    fusion = model.fusion.without(without) if without else model.fusion
    fusion.eval()
    count_U = torch.from_numpy(np.diff(fold.known.indptr))

    def score(user_B: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            user = torch.from_numpy(user_B)
            return model(user, count_U[user], fusion).numpy()

    return measured(score, fold, users)


def measured(score, fold: Fold, users: np.ndarray) -> np.ndarray:
    """NDCG@10 of each user under a scoring function."""
    done = evaluate(score, users, fold.truth[users], metrics=[NDCG()], exclude=fold.known[users])
    return done.per_user["ndcg@10"]


def ease(fold: Fold, l2: float) -> EASE:
    """The linear reference."""
    plays = pl.col("kind") == "play"
    return EASE(EASEConfig(l2=l2, dtype="float32")).fit(fold.log.where(plays))
