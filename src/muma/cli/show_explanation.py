"""What rankers look at, and why a list is as it is, for people."""

from __future__ import annotations

from muma.app.explanations import Overview, UserExplanation
from muma.cli.show import titled
from muma.cli.show_ranking import show_ranked
from muma.cli.terminal import escaped, out
from muma.ranking.explanation import Difference
from muma.ranking.units import number


def show_overview(found: Overview, *, first: int = 15) -> None:
    """Importance and doubts."""
    table = titled(
        f"the {first} features that move scores most ({found.rows:,} test rows of {found.table})",
        "feature",
    )
    table.add_column("group")
    table.add_column("mean |part|, log-odds, 95% interval", justify="right")
    for one in found.importance[:first]:
        told = f"{one.mean:.4f} [{one.low:.4f}, {one.high:.4f}]"
        table.add_row(one.feature, one.group, escaped(told))
    out.print(table)
    folds = ", ".join(found.folds)
    never = [one.name for one in found.doubts if one.kind != "flips"]
    if never:
        out.print(
            f"\n[bold]{len(never)} of {len(found.importance)} features never help[/] in any of "
            f"{folds}:"
        )
        out.print(", ".join(never))
    flips = [one for one in found.doubts if one.kind == "flips"]
    if flips:
        table = titled("features whose effect flips its sign with time", "feature")
        table.add_column("what was found")
        for one in flips:
            table.add_row(one.name, escaped(one.reason))
        out.print(table)
    if not found.doubts:
        out.print(f"no feature to doubt in {folds}")


def show_user(found: UserExplanation, *, left_out: str | None) -> None:
    """A user's list with groups of parts, and what was asked about it."""
    answer = found.answer
    show_ranked(answer)
    names = list(dict.fromkeys(name for item in answer.items for name in item.groups))
    moved = [
        name for name in names if any(abs(i.groups.get(name, 0.0)) >= 0.005 for i in answer.items)
    ]
    table = titled("parts of the score by group, log-odds", "#")
    for name in ("item", *moved, *([] if left_out is None else [f"rank without {left_out}"])):
        table.add_column(name, justify="left" if name == "item" else "right")
    table.add_column("proposed by")
    for place, item in enumerate(answer.items):
        cells = [f"{item.groups.get(name, 0.0):+.2f}" for name in moved]
        if left_out is not None:
            cells.append(str(found.without[place].rank_after))
        table.add_row(str(place + 1), str(item.item), *cells, ", ".join(item.sources))
    out.print(table)
    if left_out is not None:
        out.print(
            f"rank without {left_out}: one item at a time loses that group; the others keep it"
        )
    if found.above is not None:
        _show_above(found.above, found.above_told)


def _show_above(difference: Difference, told: str | None, *, first: int = 8) -> None:
    upper, lower = difference.a + 1, difference.b + 1
    table = titled(f"why place {upper} stands {difference.gap:+.2f} from place {lower}", "feature")
    for name in (f"value at {upper}", f"value at {lower}", "gives, log-odds"):
        table.add_column(name, justify="right")
    for part in difference.parts[:first]:
        table.add_row(
            part.name, number(part.value_a), number(part.value_b), f"{part.contribution:+.3f}"
        )
    rest = sum(part.contribution for part in difference.parts[first:])
    table.add_row(f"{len(difference.parts[first:])} others", "", "", f"{rest:+.3f}")
    out.print(table)
    if told is not None:
        out.print(escaped(told), soft_wrap=True)
        out.print("by group: " + ", ".join(f"{g} {v:+.2f}" for g, v in difference.groups.items()))
