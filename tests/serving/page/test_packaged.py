"""What the page is made of is in the wheel."""

from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

import muma.serving.page

ROOT = Path(__file__).parents[3]
FOLDER = Path(muma.serving.page.__file__).parent


def test_templates_and_static_files_are_in_the_wheel():
    held = {one.distribution_path for one in WheelBuilder(str(ROOT)).recurse_included_files()}
    made_of = [
        path for path in FOLDER.rglob("*") if path.suffix in (".html", ".css", ".js", ".svg", ".py")
    ]
    assert len(made_of) >= 15
    for path in made_of:
        name = "muma/serving/page/" + path.relative_to(FOLDER).as_posix()
        assert name in held
