"""Policies on a log: targets by brute force, true values covered, nothing judged on what it learned."""

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import polars as pl
import pytest

from muma.app.decision_log import read_decisions
from muma.app.learned_policy import LearnedPolicy
from muma.app.ope import draw, group_values, judge_policy, write_judgement
from muma.errors import ArtifactError, ConfigError, DataError, SchemaError
from muma.rng import derive
from ope_support import WORLD, frame, ranked, write

SOFTMAX = '[policy]\nuse = "muma.policy.softmax.SoftmaxPolicy"\ntemperature = 0.5\n'
THOMPSON = '[policy]\nuse = "muma.policy.thompson.Thompson"\n'
LITTLE = "[ope]\nlearn = 0.02\n"
LINUCB = '[policy]\nuse = "muma.policy.linucb.LinUCB"\n'


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write(frame(), tmp_path_factory.mktemp("ope") / "log.parquet")


def recipe(tmp_path, text):
    (tmp_path / "recipe.toml").write_text(text)
    return str(tmp_path / "recipe.toml")


def true_value(found):
    chance_BA = WORLD.chance(found.target.log.logged.context_BF)
    return float((found.target.target_BA * chance_BA).sum(axis=1).mean())


def test_the_logging_policy_earns_what_it_earned(log):
    found = judge_policy(log, "logging")
    reward_B = found.target.log.logged.reward_B
    assert [row.result.value for row in found.rounds.rows] == pytest.approx([reward_B.mean()] * 2)
    assert found.gain.value == pytest.approx(0)
    assert not found.gain.excludes(0.0)


@pytest.mark.parametrize("policy", ["uniform", "best-constant", "greedy", "learned"])
def test_built_in_policies_are_valued_near_the_truth(log, policy):
    found = judge_policy(log, policy)
    assert np.allclose(found.target.target_BA.sum(axis=1), 1)
    truth = true_value(found)
    value = found.rounds.row("DR").result
    room = 1.3 * (value.high - value.low) / 2  # 99 % instead of 95 %
    assert abs(value.value - truth) < room
    if policy == "greedy":
        assert found.gain.low > 0


@pytest.mark.parametrize("policy", ["uniform", "best-constant", "greedy", "learned"])
def test_built_in_policies_show_no_item_twice_in_an_answer(policy, tmp_path):
    """Four items in two slots: the best item (0.7) and any other (0.2) are 0.9, never 1.4."""
    found = judge_policy(write(ranked(2000), tmp_path / "log.parquet"), policy)
    logged, target_BA = found.target.log.logged, found.target.target_BA
    first_S = np.full(2000, -1)
    first_S[logged.slate_B[logged.position_B == 0]] = logged.action_B[logged.position_B == 0]
    low_B = logged.position_B == 1
    assert (target_BA[low_B, first_S[logged.slate_B[low_B]]] == 0).all()
    assert np.allclose(target_BA.sum(axis=1), 1)
    assert abs(found.rounds.diagnostics.mean_weight_z) < 3.3
    truth = {"uniform": 0.65}.get(policy, 0.9)
    value = found.answers.row("cascade-DR").result
    assert abs(value.value - truth) < 1.5 * (value.high - value.low) / 2 + 0.01


def test_the_gain_of_a_list_is_that_of_whole_answers(tmp_path):
    """The logged lists hold the good item low, so that one slot alone gains more than a list can."""
    rng = derive(4, "lists")
    mean_A, logged_A = (
        np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.6]),
        np.array([1.0, 0, 0.4, -0.4, 0.6, -0.2]),
    )
    n, look_K, target_A = 3000, (1.0, 0.6, 0.4), np.array([-1.0, -0.5, 0, 0.5, 1, 2])
    rows = []
    for answer in range(n):
        left = list(range(6))
        for slot, look in enumerate(look_K):
            p = np.exp(logged_A[left]) / np.exp(logged_A[left]).sum()
            place = rng.choice(len(left), p=p)
            item = left.pop(place)
            reward = float(rng.random() < mean_A[item] * look)
            rows.append((answer, slot, str(item), p[place], reward, "ab"[answer % 2]))
    names = ["request_id", "slot", "item", "propensity", "reward", "kind"]
    table = pl.DataFrame(rows, schema=names, orient="row")
    log = write(table, tmp_path / "log.parquet")
    scores = pl.DataFrame({"item": [str(a) for a in range(6)], "score": target_A})
    where = write(
        table.select("request_id").unique().join(scores, how="cross"), tmp_path / "scores.parquet"
    )
    text = (
        '[policy]\nuse = "muma.policy.softmax.SoftmaxPolicy"\ntemperature = 1.0\n'
        f'floor = {{least = 0.0}}\n[ope]\nlearn = 0\nscores = "{where}"\n'
    )
    found = judge_policy(log, recipe(tmp_path, text), by=["kind"])

    def value(score_A):
        total = 0.0
        for order in permutations(range(6), 3):
            left_A, chance = np.exp(score_A), 1.0
            for item in order:
                chance *= left_A[item] / left_A.sum()
                left_A[item] = 0
            total += chance * (mean_A[list(order)] * look_K).sum()
        return total

    truth = value(target_A) - value(logged_A)
    assert found.gain.low < truth < found.gain.high
    assert found.estimator == "cascade-DR"
    assert [row.result.label for row in found.answers.rows] == ["cascade-DR"]
    slot = found.rounds.row("DR").result.low - found.rounds.logged.value
    assert slot * 3 > truth  # three single slots promise more
    assert found.groups.overall == replace(found.gain, label="overall")
    assert np.mean([row.gain.value for row in found.groups.rows]) == pytest.approx(
        found.gain.value, rel=0.05
    )
    with pytest.raises(DataError, match="differs between the slots of an answer"):
        judge_policy(log, "uniform", by=["slot"])


def test_groups_are_judged_and_numbers_cut_at_quartiles(log, tmp_path):
    found = judge_policy(log, "greedy", by=["country", "ctx_a"])
    names = [(row.column, row.group.split(":")[0]) for row in found.groups.rows]
    assert names == [
        ("country", "de"), ("country", "fr"), *(("ctx_a", str(n)) for n in (1, 2, 3, 4)),
    ]  # fmt: skip
    assert sum(row.rounds for row in found.groups.rows) == 2 * 1200
    pictures = draw(found, tmp_path / "out", name="log")
    assert [picture.name for picture in pictures] == ["ope.png", "groups.png"]
    data = json.loads(write_judgement(found, tmp_path / "out").read_text())
    assert data["policy"] == "greedy"
    assert data["groups"]["groups"][0]["group"] == "de"
    assert data["gain"]["low"] < data["gain"]["value"] < data["gain"]["high"]


def test_gaps_in_a_number_are_a_group(tmp_path):
    table = frame(40).with_columns(age=pl.Series([None, *range(39)], dtype=pl.Float64))
    values = group_values(read_decisions(write(table, tmp_path / "log.parquet")), "age")
    assert values[0] == ""
    assert {str(v)[0] for v in values[1:]} == {"1", "2", "3", "4"}


def test_a_learned_policy_is_saved_and_judged_on_a_new_log(log, tmp_path):
    judge_policy(log, "learned").target.save(tmp_path / "policy")
    fresh = write(frame(1200, seed=5), tmp_path / "fresh.parquet")
    found = judge_policy(fresh, str(tmp_path / "policy"))
    policy = LearnedPolicy.load(tmp_path / "policy")
    assert policy.items == ("item 0", "item 1", "item 2", "item 3")
    assert np.allclose(
        found.target.target_BA, policy.softmax.probabilities(found.target.log.logged.context_BF)
    )
    assert true_value(found) > frame(1200, seed=5)["reward"].mean()
    less = frame(300, seed=6).filter(pl.col("item") != "item 2")
    few = judge_policy(write(less, tmp_path / "less.parquet"), str(tmp_path / "policy"))
    assert few.target.target_BA.shape[1] == 4
    assert few.rounds.diagnostics.unseen_mass > 0


def test_a_table_of_probabilities_is_laid_out_by_row(tmp_path):
    table = ranked(200)
    path = write(table, tmp_path / "log.parquet")
    rows = table.select("request_id", "slot").join(pl.DataFrame({"item": [3, 1]}), how="cross")
    rows = rows.with_columns(probability=pl.when(item=3).then(0.9).otherwise(0.1))
    target = write(rows.sample(fraction=1, shuffle=True, seed=1), tmp_path / "target.csv")
    found = judge_policy(path, target=target)
    assert found.target.target_BA.tolist() == [[0.0, 0.1, 0.0, 0.9]] * 400  # items are sorted
    with pytest.raises(DataError, match="says nothing of request_id, slot"):
        judge_policy(path, target=write(rows[2:], tmp_path / "short.csv"))
    with pytest.raises(SchemaError, match="no column 'probability'"):
        judge_policy(path, target=write(rows.drop("probability"), tmp_path / "none.csv"))
    twice = write(pl.concat([rows, rows[:1]]), tmp_path / "twice.csv")
    with pytest.raises(DataError, match="stands there more than once"):
        judge_policy(path, target=twice)
    half = rows.with_columns(pl.col("probability") / 2)
    with pytest.raises(DataError, match="sum of a row"):
        judge_policy(path, target=write(half, tmp_path / "half.csv"))


def test_too_few_to_be_cut_into_folds_is_said(tmp_path):
    bare = ranked(4).filter(slot=1).drop("slot", "request_id")
    with pytest.raises(DataError, match="of 4 users or answers; 5 are needed"):
        judge_policy(write(bare, tmp_path / "few.parquet"), "greedy")


def test_a_softmax_recipe_over_a_rankers_scores_equals_brute_force(tmp_path):
    """Two slots out of four: the second slot's probabilities are over the three items left."""
    table = ranked(150)
    path = write(table, tmp_path / "log.parquet")
    scores = pl.DataFrame({"item": [0, 1, 2, 3], "score": [0.0, 0.3, -0.2, 1.0]})
    rows = table.select("request_id").unique(maintain_order=True).join(scores, how="cross")
    where = write(rows, tmp_path / "scores.parquet")
    text = f'{SOFTMAX}floor = {{least = 0.0}}\n[ope]\nlearn = 0\nscores = "{where}"\n'
    found = judge_policy(path, recipe(tmp_path, text))
    weight = np.exp(np.array([0.0, 0.3, -0.2, 1.0]) / 0.5)
    for row, target_A in zip(table.iter_rows(named=True), found.target.target_BA, strict=True):
        left = weight.copy()
        if row["slot"] == 2:
            left[table.filter(request_id=row["request_id"], slot=1)["item"][0]] = 0
        assert np.allclose(target_A, left / left.sum())
    assert found.answers is not None
    assert {row.result.label for row in found.answers.rows} >= {"cascade-DR"}
    short = write(rows.filter(pl.col("item") != 3), tmp_path / "scores.parquet")
    assert short == where
    with pytest.raises(DataError, match="not among the candidates"):
        judge_policy(path, str(tmp_path / "recipe.toml"))


@pytest.mark.parametrize("text", [SOFTMAX, THOMPSON, LINUCB])
def test_a_recipes_policy_learns_from_the_first_half_only(text, log, tmp_path):
    found = judge_policy(log, recipe(tmp_path, text))
    assert len(found.target.log.logged) == 600
    assert found.target.log.time_B.min() == 600 * 1_000_000
    assert np.allclose(found.target.target_BA.sum(axis=1), 1)
    # what comes later, the judged rewards, changes nothing in the policy
    table = frame()
    late = pl.int_range(pl.len()) >= 600
    table = table.with_columns(reward=pl.when(late).then(1 - pl.col("reward")).otherwise("reward"))
    other = judge_policy(write(table, tmp_path / "other.parquet"), str(tmp_path / "recipe.toml"))
    assert np.array_equal(found.target.target_BA, other.target.target_BA)
    assert found.gain.value != pytest.approx(other.gain.value)


def test_equal_questions_are_asked_once(tmp_path, monkeypatch):
    from muma.policy.thompson import Thompson

    asked = []
    first = Thompson.next_slot
    monkeypatch.setattr(Thompson, "next_slot", lambda *a, **k: asked.append(1) or first(*a, **k))
    table = ranked(100)
    bare = table.filter(slot=1).drop("slot", "request_id")
    found = judge_policy(write(bare, tmp_path / "log.parquet"), recipe(tmp_path, THOMPSON))
    assert len(asked) == 2  # once, and once to see that the request changes nothing
    assert len(np.unique(found.target.target_BA, axis=0)) == 1


def test_a_policy_that_draws_for_each_request_is_asked_for_each(tmp_path):
    """The draws of one request must not stand for all: the mean over requests is near the truth."""
    bare = ranked(800).filter(slot=1).drop("slot", "request_id")
    log = write(bare, tmp_path / "log.parquet")
    found = {
        kind: judge_policy(
            log, recipe(tmp_path, f'{THOMPSON}probabilities = "{kind}"\ndraws = 200\n{LITTLE}')
        ).target.target_BA
        for kind in ("monte-carlo", "quadrature")
    }
    assert len(np.unique(found["monte-carlo"], axis=0)) > 100
    assert np.allclose(*(target_BA.mean(axis=0) for target_BA in found.values()), atol=0.01)


def test_rewards_outside_0_and_1_are_valued_by_ridge(log, tmp_path):
    table = frame().with_columns(reward=pl.col("reward") * 12 - 3)
    found = judge_policy(write(table, tmp_path / "minutes.parquet"), "greedy")
    unit = judge_policy(log, "greedy")
    assert found.gain.value / 12 == pytest.approx(unit.gain.value, abs=0.04)
    with pytest.raises(DataError, match=r"lie in \[0, 1\]"):
        judge_policy(str(tmp_path / "minutes.parquet"), recipe(tmp_path, THOMPSON))


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({}, ConfigError, "one of --policy and --target"),
        ({"policy": "uniform", "target": "t.csv"}, ConfigError, "one of --policy and --target"),
        ({"policy": "best"}, ConfigError, "none of uniform, logging, best-constant"),
        ({"policy": "nowhere.toml"}, ConfigError, "does not exist"),
        ({"policy": "uniform", "overrides": ["a=1"]}, ConfigError, "built in"),
        ({"policy": "uniform", "by": ["age"]}, SchemaError, "no column 'age' to group by"),
        ({"policy": "uniform", "columns": {"rewards": "x"}}, ConfigError, "unknown key 'rewards'"),
        (
            {"policy": "uniform", "by": ["country"], "correction": "none"},
            ConfigError,
            "correction",
        ),
    ],
)
def test_mistakes_are_told(asked, error, message, log):
    with pytest.raises(error, match=message):
        judge_policy(log, **asked)


def test_mistakes_in_recipes_are_told(log, tmp_path):
    for text, message in (
        ("[ope]\nlearn = 0.5\n", r"no section \[policy\]"),
        (f"{SOFTMAX}[ope]\nlaern = 0.5\n", "unknown key 'laern'"),
        (SOFTMAX.replace("temperature", "temperatur"), "unknown key 'temperatur'"),
        (f"{SOFTMAX}[ope]\nlearn = 0.00001\n", "leaves a part empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            judge_policy(log, recipe(tmp_path, text))
    with pytest.raises(ArtifactError):
        LearnedPolicy.load(tmp_path)
