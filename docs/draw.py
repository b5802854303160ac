"""Draw the README's pictures: run the demo, keep what it prints as SVG and its chart as PNG.

python docs/draw.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console

from muma.cli import demo, evaluate, show, show_ranking, terminal, train

IMAGES = Path(__file__).parent / "img"


def main() -> None:
    """Run the demo on a recording console."""
    console = Console(record=True, width=150, highlight=False)
    for module in (demo, evaluate, show, show_ranking, terminal, train):
        module.out = console
    demo.demo(user=demo.WARM, set_=None, json=False)
    IMAGES.mkdir(exist_ok=True)
    console.save_svg(str(IMAGES / "demo.svg"), title="make demo")
    for name in ("comparison", "beeswarm", "importance"):
        shutil.copy(Path(f"runs/demo/{name}.png"), IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
