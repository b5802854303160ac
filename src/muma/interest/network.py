"""The dynamic interest network: a decayed LSTM, a Transformer over it, and their fusion (eq. 6-8).

    x = inputs(events);  h_LSTM = recurrent(x);  h_T = attention(h_LSTM or x)
    h_user = fusion(h_LSTM, h_T)                 score = h_user . e_item

Every part is a config: without `attention` it is an LSTM (the paper's control) or, with
`branches.gru.GRU`, GRU4Rec; without `recurrent` and with learned positions it is SASRec.

Shape: B users, L events, T longest history of the batch, D width, K interests, M events kept by a
state, S state vectors of the recurrence, C rows of the item table.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from muma.config import Config, Spec, build
from muma.errors import ConfigError, DataError
from muma.interest.batch import Events, Front, check, flush_left, flush_right
from muma.interest.inputs import Inputs
from muma.interest.network_state import State
from muma.interest.state import StateShape
from muma.interest.table import ItemTable
from muma.interest.weights import draw

ROOM = "muma.interest"


class NetworkConfig(Config):
    """Parameters of `InterestNetwork`. `width` and `max_length` are handed to every part.

    A recipe leaves a part out by `attention = false`, since TOML has no null.

    Attributes:
        width: D, the width of item and user vectors.
        max_length: events of a history that are read, the newest ones.
        recurrent: the short-term branch; None leaves it out.
        attention: the global branch; None leaves it out.
        attends: what the global branch reads: the recurrent outputs (the paper), or the inputs.
        fusion: how both become one; unused with one branch.
        interests: K vectors a user instead of one; None for one.
        kinds: read the kind of event. dwell: read its dwell time.
        source_width: width of the fused source vectors; 0 reads none.
        dropout: share of the input's components dropped in training.
        memory: M, events that a state keeps for the global branch; at most `max_length`.
        seed: of the first weights.
    """

    width: int = Field(default=64, ge=1)
    max_length: int = Field(default=200, ge=1)
    recurrent: Spec | None = Spec(use=f"{ROOM}.decayed_lstm.DecayedLSTM")
    attention: Spec | None = Spec(use=f"{ROOM}.transformer.Transformer")
    attends: Literal["recurrent", "inputs"] = "recurrent"
    fusion: Spec = Spec(use=f"{ROOM}.gates.gated.GatedFusion")
    interests: Spec | None = None
    kinds: bool = True
    dwell: bool = True
    source_width: int = Field(default=0, ge=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    memory: int = Field(default=50, ge=1)
    seed: int = 1

    @field_validator("recurrent", "attention", "interests", mode="before")
    @classmethod
    def _left_out(cls, given: object) -> object:
        return None if given is False else given


class InterestNetwork(nn.Module):
    """The network of the paper's section 3.3, its fixes and its baselines.

    Args:
        config: the parts.
        table: the item table, shared with whoever scores; its width is the network's.

    Raises:
        ConfigError: no branch is left, or the table's width differs.

    Example:
        >>> network = InterestNetwork(NetworkConfig(width=8, dropout=0.0), ItemTable(8, items=3))
        >>> state = network.start(2)
        >>> state.memory_BMW.shape
        torch.Size([2, 50, 8])
    """

    def __init__(self, config: NetworkConfig, table: ItemTable) -> None:
        super().__init__()
        if config.recurrent is None and config.attention is None:
            raise ConfigError("network: recurrent and attention are both none; keep one of them")
        if table.width != config.width:
            raise ConfigError(f"network: width {config.width}, but the table has {table.width}")
        self.config, self.table = config, table
        size: dict[str, Any] = {"width": config.width}
        self.inputs = Inputs(
            config.width, kinds=config.kinds, dwell=config.dwell,
            source_width=config.source_width, dropout=config.dropout,
        )  # fmt: skip
        self.recurrent = _part("recurrent", config.recurrent, **size)
        self.attention = _part("attention", config.attention, length=config.max_length, **size)
        both = self.recurrent is not None and self.attention is not None
        self.fusion = _part("fusion", config.fusion if both else None, **size)
        self.interests = _part("interests", config.interests, **size)
        draw(self, config.seed, skip=("table.",))

    def forward(self, events: Events) -> Tensor:
        """The user vector after each event, [B, L, D] or [B, L, K, D]; padding is zeros.

        Raises:
            DataError: the events hold something that is not finite, or are not ordered.
        """
        length = events.mask_BL.shape[1]
        moved = self._prepare(events)
        return flush_right(self.encode(moved), length - moved.mask_BL.sum(1), length)

    def user(self, events: Events) -> Tensor:
        """The vector after the newest event, [B, D] or [B, K, D]; zeros without an event."""
        moved = self._prepare(events)
        return newest(self.encode(moved), moved.mask_BL.sum(1))

    def _prepare(self, events: Events) -> Events:
        check(events)
        return flush_left(events.newest(self.config.max_length))

    def encode(self, events: Events) -> Tensor:
        """As `forward`, for events that `flush_left` has moved; what stands behind them is junk."""
        x_BTD = self.inputs(self.table(events.row_BL), events)
        h_BTD = None if self.recurrent is None else self.recurrent(x_BTD, events.gap_BL)
        return self.join(x_BTD, h_BTD, events.gap_BL, events.wait_BL)

    def join(
        self, x_BTD: Tensor, h_BTD: Tensor | None, gap_BT: Tensor, wait_BT: Tensor | None
    ) -> Tensor:
        """The global branch, the fusion and the interests, from inputs and recurrent outputs.

        Args:
            x_BTD: vectors of the events, moved to the front; read where `attends` asks for it.
            h_BTD: outputs of the recurrent branch; None without one.
            gap_BT: seconds before each event.
            wait_BT: seconds from each event to the moment its vector is used.
        """
        joined = x_BTD if h_BTD is None else h_BTD
        if self.attention is not None:
            read_BTD = joined if self.config.attends == "recurrent" else x_BTD
            joined = self.attention(read_BTD, gap_BT)
            if h_BTD is not None:
                joined = self.fusion(h_BTD, joined, wait_BT)
        return joined if self.interests is None else self.interests(joined)

    def start(self, batch: int) -> State:
        """States of `batch` users without a history."""
        weight, shape = self.table.weight, self.state_shape
        return State(
            weight.new_zeros((batch, shape.states, shape.width)),
            weight.new_zeros((batch, shape.memory, shape.read)),
            weight.new_zeros((batch, shape.memory)),
            torch.zeros(batch, dtype=torch.int64, device=weight.device),
        )

    @property
    def state_shape(self) -> StateShape:
        """Sizes of a state."""
        config = self.config
        kept = self.attention is not None or self.interests is not None
        return StateShape(
            states=0 if self.recurrent is None else self.recurrent.states,
            width=config.width,
            memory=min(config.memory, config.max_length) if kept else 0,
            read=config.width * (2 if self.keeps_both else 1),
        )

    @property
    def keeps_both(self) -> bool:
        """Whether a state keeps the inputs beside the recurrent outputs."""
        return self.fusion is not None and self.config.attends == "inputs"

    @torch.no_grad()
    def step(self, events: Events, state: State) -> tuple[Tensor, State]:
        """One more event of every user: one cell step.

        Args:
            events: [B, 1], one event each.
            state: of the same users.

        Returns:
            The recurrent branch's output [B, D] (the input's vector without one), and the new state.

        Raises:
            DataError: an event is missing, or not finite.
        """
        check(events)
        if events.mask_BL.shape[1] != 1 or not events.mask_BL.all():
            raise DataError("step: give exactly one event a user")
        x_BD = self.inputs(self.table(events.row_BL), events)[:, 0]
        gap_B, carry_BSD, h_BD = events.gap_BL[:, 0], state.carry_BSD, x_BD
        if self.recurrent is not None:
            carry_BSD = self.recurrent.step(x_BD, gap_B, carry_BSD)
            h_BD = carry_BSD[:, 0]
        if not state.gap_BM.shape[1]:
            return h_BD, replace(state, carry_BSD=carry_BSD)
        read_BW = torch.cat([x_BD, h_BD], 1) if self.keeps_both else h_BD
        return h_BD, State(
            carry_BSD,
            torch.cat([state.memory_BMW[:, 1:], read_BW[:, None]], 1),
            torch.cat([state.gap_BM[:, 1:], gap_B[:, None]], 1),
            (state.count_B + 1).clamp(max=state.gap_BM.shape[1]),
        )

    def user_of(self, state: State, wait_B: Tensor | None = None) -> Tensor:
        """The user vector that a state holds; after at most M events, that of `user`.

        Later on the recurrence knows older events, and the global branch the last M.

        Args:
            state: of B users.
            wait_B: float32 seconds since each user's newest event, for the time-conditioned gate.
        """
        kept = state.gap_BM.shape[1]
        if not kept:
            return state.carry_BSD[:, 0]
        to_front = Front(state.count_B, kept)
        gap_BM = to_front(state.gap_BM)
        wait_BM = None
        if wait_B is not None:
            place_M = torch.arange(gap_BM.shape[1], device=wait_B.device)
            next_BM = torch.cat([gap_BM[:, 1:], wait_B[:, None]], 1)
            newest_BM = place_M == state.count_B[:, None] - 1
            wait_BM = torch.where(newest_BM, wait_B[:, None], next_BM)
        read_BMW = to_front(state.memory_BMW)
        x_BMD, h_BMD = read_BMW[..., : self.config.width], read_BMW[..., -self.config.width :]
        recurrent = None if self.recurrent is None else h_BMD
        return newest(self.join(x_BMD, recurrent, gap_BM, wait_BM), state.count_B)

    def score(self, h: Tensor, table: ItemTable) -> Tensor:
        """Scores of every row, [..., C]; for K interests the greatest inner product."""
        score = h @ table.weight.T
        return score if self.interests is None else score.amax(-2)


def newest(vector_BTD: Tensor, count_B: Tensor) -> Tensor:
    """The vector at position `count - 1` of each row; zeros where `count` is 0."""
    row_B = torch.arange(count_B.shape[0], device=count_B.device)
    last = vector_BTD[row_B, (count_B - 1).clamp(min=0)]
    return last * (count_B > 0).reshape(-1, *[1] * (last.dim() - 1))


def _part(where: str, spec: Spec | None, **size: Any) -> Any:
    return None if spec is None else build(spec, where=f"network.{where}", **size)
