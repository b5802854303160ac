"""The walls of the house: what DESIGN calls rules and a machine can check."""

import ast
import inspect
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import muma
from muma.config import Config, config_type
from muma.testing.discovery import classes_in

SRC = Path(muma.__file__).parent
FILES = sorted(SRC.rglob("*.py"))
ROOMS = sorted(p.name for p in SRC.iterdir() if (p / "__init__.py").exists())
CONTRACTS = {
    "fusion": "encoder.py",
    "interest": "interest.py",
    "events": "event.py",
    "features": "feature.py",
    "candidates": "candidate.py",
    "ranking": "ranker.py",
    "policy": "policy.py",
    "evaluation": "result.py",
    "simulation": "world.py",
    "serving": "recommending.py",
}
# library -> the rooms whose files may import it
WALLS = {
    "torch": {"fusion", "interest", "transfer"},
    "torch_geometric": {"transfer"},
    "sentence_transformers": {"fusion"},
    "lightning_fabric": {"fusion", "interest", "transfer"},
    "onnx": {"interest"},
    "onnxruntime": {"interest"},
    "safetensors": {"fusion", "interest", "transfer"},
    "faiss": {"candidates"},
    "xgboost": {"ranking"},
    "lightgbm": {"ranking"},
    "shap": {"ranking"},
    "redis": {"backends"},
    "lmdb": {"backends"},
    "kafka": {"backends"},
    "confluent_kafka": {"backends"},
    "litestar": {"serving"},
    "granian": {"serving"},
    "jinja2": {"serving"},
    "msgspec": {"serving", "client", "app"},
    "httpx": {"client"},
    "matplotlib": {"report"},
    "typer": {"cli"},
    "rich": {"cli"},
    "implicit": {"candidates"},
    "pandas": set(),
    "pickle": set(),
    "joblib": set(),
    "sklearn": set(),
    "dataframely": {"events"},
    # compiled loops of what every answer does
    "numba": {"backends", "candidates", "features", "policy", "ranking", "serving"},
    "optuna": {"ranking"},
}


def room(path: Path) -> str:
    """Name of the room a file is in; the floor is ''."""
    parts = path.relative_to(SRC).parts
    return parts[0] if len(parts) > 1 else ""


def libraries(path: Path) -> set[str]:
    """Top-level names a file imports, by statement or through `require`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"require", "import_module"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add(str(node.args[0].value).partition(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_libraries_stay_behind_their_walls(path):
    for library in libraries(path):
        if library in WALLS and room(path) != "testing":
            assert room(path) in WALLS[library], f"{path} imports {library}"


def test_walls_would_notice():
    assert "matplotlib" in libraries(SRC / "report" / "comparison.py")
    assert "typer" in libraries(SRC / "cli" / "main.py")


def test_importing_muma_is_light():
    heavy = ["polars", "numpy", "scipy", "pyarrow", "torch", "matplotlib", "rich", "implicit"]
    code = f"import sys, muma; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_surface_is_small_and_real():
    assert len(muma.__all__) <= 15
    for name in muma.__all__:
        assert getattr(muma, name) is not None
    with pytest.raises(AttributeError):
        _ = muma.no_such_name


def test_files_are_short():
    lengths = {p: len(p.read_text().splitlines()) for p in FILES}
    assert max(lengths.values()) <= 500
    assert statistics.median(lengths.values()) < 150


def test_every_flow_room_opens_with_its_contract():
    for name, contract in CONTRACTS.items():
        assert (SRC / name / contract).is_file()
    for name in ROOMS:
        assert (SRC / name / "__init__.py").read_text().startswith('"""'), name


def test_clock_and_randomness_are_handed_in():
    owners = {"rng.py", "cli/terminal.py", "app/service/clock.py"}
    banned = {
        ("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"),
        ("random", "default_rng"), ("random", "seed"), ("random", "RandomState"),
    }  # fmt: skip
    for path in FILES:
        if str(path.relative_to(SRC)) in owners or room(path) == "testing":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                base = node.value
                name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
                assert (name, node.attr) not in banned, f"{path}:{node.lineno}"


def test_components_take_a_frozen_config():
    found = 0
    for package in ("muma.events.sources", "muma.events.cleaning", "muma.candidates",
                    "muma.evaluation.metrics", "muma.fusion.encoders", "muma.fusion.fusers"):  # fmt: skip
        for cls in classes_in(package):
            parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
            if not parameters or parameters[0].name != "config" or inspect.isabstract(cls):
                continue
            kind = config_type(cls)
            assert issubclass(kind, Config)
            assert kind.model_config.get("frozen") is True
            assert kind.model_config.get("extra") == "forbid"
            found += 1
    assert found >= 20


def test_no_file_swallows_every_error():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path}:{node.lineno}: bare except"
                names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
                passed_on = isinstance(node.body[-1], ast.Raise)
                broad = names & {"Exception", "BaseException"}
                assert passed_on or not broad, f"{path}:{node.lineno}"
