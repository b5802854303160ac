"""Ranked lists, their reasons and how good the rankers are, for people."""

from __future__ import annotations

from collections.abc import Mapping

from muma.app.serving_lists import PipelineAnswer
from muma.cli.show import moment, titled
from muma.cli.terminal import escaped, out


def show_ranked(answer: PipelineAnswer) -> None:
    """A user's list with a reason for every place."""
    what = "cold user" if answer.n_history == 0 else "warm user"
    known = "" if answer.known else ", never seen in the log"
    table = titled(
        f"{what} {answer.user} ({answer.n_history} interactions{known}), as of "
        f"{moment(answer.at_us)} UTC",
        "#",
    )
    labels = [*answer.items[0].probability] if answer.items else []
    table.add_column("item", no_wrap=True)
    table.add_column("title or tags")
    for name in ("score", *(f"P({label})" for label in labels)):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why")
    for place, item in enumerate(answer.items, 1):
        called = item.title or ", ".join(item.tags) or "-"
        chances = (f"{item.probability[label]:.0%}" for label in labels)
        table.add_row(
            str(place), str(item.item), escaped(called), f"{item.score:.2f}", *chances,
            escaped(reason(item.sentence)),
        )  # fmt: skip
    out.print(table)
    out.print(f"{answer.n_candidates} candidates of all sources were ranked")
    if answer.history:
        out.print(f"took last: {escaped(' | '.join(answer.history))}", soft_wrap=True)


def reason(sentence: str | None) -> str:
    """A sentence without its beginning, "Shown first", which its row says already."""
    if sentence is None:
        return "-"
    _, _, told = sentence.partition(": ")
    return told[:1].upper() + told[1:] if told else "-"


def groups_line(groups: Mapping[str, float]) -> str:
    """`item +0.99, candidates +0.99`, without what rounds to nothing."""
    told = [f"{name} {value:+.2f}" for name, value in groups.items() if abs(value) >= 0.005]
    return ", ".join(told) or "nothing beyond the base"
