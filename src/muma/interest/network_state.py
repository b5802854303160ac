"""What the network keeps of a history to go on with the next event, as tensors.

Shape: B users, D width, M events kept, S state vectors of the recurrence, W width of what is kept of
an event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from muma.interest.state import States


@dataclass(frozen=True)
class State:
    """The states of B users.

    Attributes:
        carry_BSD: state of the recurrence; S is 0 without one.
        memory_BMW: what the global branch reads of the last M events, newest last; W is D, or 2 D
            when inputs and recurrent outputs are both needed; M is 0 when nothing reads them.
        gap_BM: float32 seconds before each of them.
        count_B: int64, how many of them there are.
    """

    carry_BSD: Tensor
    memory_BMW: Tensor
    gap_BM: Tensor
    count_B: Tensor

    @classmethod
    def of(cls, states: States) -> State:
        """From arrays; they are copied."""
        arrays = (states.carry_BSD, states.memory_BMW, states.gap_BM, states.count_B)
        return cls(*(torch.from_numpy(array.copy()) for array in arrays))

    def arrays(self, time_B: np.ndarray) -> States:
        """As arrays.

        Args:
            time_B: int64 microseconds, time of each user's newest event.
        """
        return States(
            carry_BSD=self.carry_BSD.cpu().numpy(),
            memory_BMW=self.memory_BMW.cpu().numpy(),
            gap_BM=self.gap_BM.cpu().numpy(),
            count_B=self.count_B.cpu().numpy(),
            time_B=np.asarray(time_B),
        )
