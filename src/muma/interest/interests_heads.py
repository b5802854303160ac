"""K interests a user: learned questions, each answered by attention over the past.

    a_tk = softmax_{j <= t}(q_k . W_k h_j / sqrt(D)),   u_tk = h_t + W_o sum_j a_tkj h_j
    score_i = max_k u_tk . e_i

After Cen et al., "Controllable multi-interest framework for recommendation" (ComiRec-SA), KDD 2020,
made causal, with the newest output added so that every interest knows the present.

Shape: B users, T events, D width, K interests.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from muma.config import Config


class InterestHeadsConfig(Config):
    """Parameters of `InterestHeads`.

    Attributes:
        width: D.
        interests: K.
    """

    width: int = Field(default=64, ge=1)
    interests: int = Field(default=4, ge=1)


class InterestHeads(nn.Module):
    """K vectors a position from one.

    Example:
        >>> import torch
        >>> heads = InterestHeads(InterestHeadsConfig(width=8, interests=3))
        >>> heads(torch.zeros(2, 5, 8)).shape
        torch.Size([2, 5, 3, 8])
    """

    def __init__(self, config: InterestHeadsConfig | None = None) -> None:
        super().__init__()
        self.config = config or InterestHeadsConfig()
        width = self.config.width
        self.question = nn.Linear(width, self.config.interests, bias=False)  # a row a question
        # a bias on keys would move all logits of a question alike
        self.key, self.out = (nn.Linear(width, width, bias=False) for _ in range(2))

    def forward(self, h_BTD: Tensor) -> Tensor:
        """Interests after each event, [B, T, K, D]."""
        users, steps, _ = h_BTD.shape
        shape = (users, self.config.interests, steps, -1)
        found_BKTD = functional.scaled_dot_product_attention(
            self.question.weight[None, :, None].expand(shape),
            self.key(h_BTD)[:, None].expand(shape),
            h_BTD[:, None].expand(shape),
            is_causal=True,
        )
        return h_BTD[:, :, None] + self.out(found_BKTD.transpose(1, 2))
