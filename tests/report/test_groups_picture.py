"""The forest plot of groups: drawn whole, also where nothing or all is undecidable."""

import numpy as np
import pytest

from muma.errors import DataError
from muma.evaluation.off_policy.groups import gain_by_group
from muma.evaluation.off_policy.logged import Logged
from muma.evaluation.off_policy.snips import SNIPS
from muma.report.groups import draw_groups
from muma.rng import derive


def report(n, columns):
    rng = derive(1, "picture")
    group_B = rng.choice(["a", "b", "a name that is longer than there is room for it"], n)
    action_B = rng.integers(0, 2, n)
    reward_B = (rng.random(n) < np.where((action_B == 1) & (group_B == "a"), 0.7, 0.3)).astype(
        float
    )
    log = Logged(action_B, reward_B, np.full(n, 0.5), 2)
    target_BA = np.tile([0.1, 0.9], (n, 1))
    groups = dict.fromkeys(columns, group_B)
    return gain_by_group(log, target_BA, groups, estimator=SNIPS())


@pytest.mark.parametrize(("n", "columns"), [(3000, ["age"]), (3000, ["age", "tab"]), (60, ["age"])])
def test_groups_are_drawn(n, columns, tmp_path):
    draw_groups(report(n, columns), tmp_path / "g.png", title="Gains", unit="clicks")
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "g.png").stat().st_size > 12_000


def test_one_unit_and_no_group_at_all(tmp_path):
    draw_groups(report(1, ["age"]), tmp_path / "g.png", title="One")
    assert (tmp_path / "g.png").is_file()
    with pytest.raises(DataError, match="name a column"):
        draw_groups(report(10, []), tmp_path / "none.png", title="None")
