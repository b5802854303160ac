"""Keys: what a file holds, who may read it, and what becomes of revoked ones."""

import hashlib
import os
import stat
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter_ns

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muma.errors import ConfigError, StoreError, UnknownIdError
from muma.serving import keys as module
from muma.serving.keys import KeyFile


@pytest.fixture
def held(tmp_path):
    return KeyFile(tmp_path / "keys.json", clock=lambda: 7, look_again_s=0)


def test_a_key_is_found_by_its_text_alone(held):
    key, token = held.create(tenant="news", roles=("write", "read"), name="front page")
    assert token.startswith(f"muma_{key.id}_")
    assert held.find(token) == key
    assert key.roles == ("read", "write")
    assert key.created_at == 7
    for wrong in (
        "",
        "muma_",
        token[:-1],
        token + "a",
        token.upper(),
        f"muma_{'0' * 12}_{token[18:]}",
    ):
        assert held.find(wrong) is None


@given(st.text(max_size=80))
def test_no_text_is_a_key(tmp_path_factory, text):
    held = KeyFile(tmp_path_factory.getbasetemp() / "none.json", clock=lambda: 0)
    assert held.find(text) is None


def test_the_unknown_id_of_the_dummy_comparison_is_no_way_in(held, monkeypatch):
    monkeypatch.setattr(module, "_hash", lambda secret, salt: "00" * 32)
    assert held.find(f"muma_{'a' * 12}_{'b' * 43}") is None


def test_the_file_holds_no_secret_and_is_its_owners_alone(held):
    _, token = held.create(tenant="news", roles=("admin",), name="a")
    secret = token.split("_", 2)[2]
    text = held.path.read_text()
    assert secret not in text
    assert hashlib.sha256(secret.encode()).hexdigest() not in text
    assert stat.S_IMODE(held.path.stat().st_mode) == 0o600
    assert secret not in repr(held.keys())


def test_equal_secrets_have_unequal_hashes():
    assert module._hash("a", "00" * 16) != module._hash("a", "11" * 16)


def test_revoked_is_revoked_everywhere(held, tmp_path):
    key, token = held.create(tenant="news", roles=("read",), name="a")
    elsewhere = KeyFile(tmp_path / "keys.json", clock=lambda: 0, look_again_s=0)
    assert elsewhere.find(token) == key
    assert held.revoke(key.id).revoked_at == 7
    assert held.find(token) is None
    assert elsewhere.find(token) is None
    assert held.revoke(key.id).revoked_at == 7
    assert [k.revoked_at for k in elsewhere.keys(tenant="news")] == [7]
    with pytest.raises(UnknownIdError, match="no key"):
        held.revoke("nothing")


def test_a_reader_looks_again_after_a_while(held, tmp_path, monkeypatch):
    slow = KeyFile(tmp_path / "keys.json", clock=lambda: 0, look_again_s=1.0)
    _, token = held.create(tenant="news", roles=("read",), name="a")
    assert slow.find(token) is None
    then = module.monotonic()
    monkeypatch.setattr(module, "monotonic", lambda: then + 1.5)
    assert slow.find(token) is not None


def test_keys_are_listed_by_tenant(held):
    made = [held.create(tenant=t, roles=("read",), name=t)[0] for t in ("a", "b", "a")]
    assert held.keys() == made
    assert held.keys(tenant="a") == [made[0], made[2]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"roles": ()}, "got none"),
        ({"roles": ("owner",)}, "'owner'; allowed: read, write, admin"),
        ({"tenant": ""}, "tenant of a key"),
        ({"name": "a\nb"}, "name of a key"),
        ({"name": "x" * 101}, "name of a key"),
    ],
)
def test_what_cannot_be_a_key(held, wrong, message):
    with pytest.raises(ConfigError, match=message):
        held.create(**{"tenant": "a", "roles": ("read",), "name": "n", **wrong})
    assert not held.path.exists()


def test_a_file_that_others_may_read_is_refused(held, tmp_path):
    held.create(tenant="a", roles=("read",), name="n")
    held.path.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        KeyFile(tmp_path / "keys.json", clock=lambda: 0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 2, "keys": []}'])
def test_a_damaged_file_is_said(tmp_path, text):
    path = tmp_path / "keys.json"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(StoreError, match=r"no file of keys|has format 2"):
        KeyFile(path, clock=lambda: 0)


def test_a_failed_write_leaves_the_old_file(held, monkeypatch):
    key, token = held.create(tenant="a", roles=("read",), name="n")
    before = held.path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        held.create(tenant="a", roles=("read",), name="m")
    assert held.path.read_bytes() == before
    assert held.find(token) == key


CREATE = """
import sys
from muma.serving.keys import KeyFile
held = KeyFile(sys.argv[1], clock=lambda: 0)
for _ in range(20):
    held.create(tenant="a", roles=("read",), name="n")
"""


def test_many_writers_lose_no_key(held):
    held.create(tenant="a", roles=("read",), name="n")
    others = [subprocess.Popen([sys.executable, "-c", CREATE, str(held.path)]) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: held.create(tenant="a", roles=("read",), name="n"), range(20)))
    assert [other.wait(60) for other in others] == [0, 0]
    assert len(held.keys()) == 61


def test_a_wrong_key_takes_as_long_wherever_it_is_wrong(held):
    """Unknown id, first and last sign of the secret: equal within what a clock can tell."""
    key, token = held.create(tenant="a", roles=("read",), name="n")
    secret = token.split("_", 2)[2]
    other = "A" if secret[0] != "A" else "B"
    last = "A" if secret[-1] != "A" else "E"
    cases = {
        "unknown": f"muma_{'0' * 12}_{secret}",
        "first": f"muma_{key.id}_{other}{secret[1:]}",
        "last": f"muma_{key.id}_{secret[:-1]}{last}",
    }
    still = KeyFile(held.path, clock=lambda: 0, look_again_s=1e9)
    times = {name: [] for name in cases}
    for _ in range(3_000):
        for name, text in cases.items():
            begun = perf_counter_ns()
            assert still.find(text) is None
            times[name].append(perf_counter_ns() - begun)
    middle = {name: statistics.median(spent) for name, spent in times.items()}
    assert max(middle.values()) < 1.5 * min(middle.values())


def test_the_comparison_is_constant_in_time(held, monkeypatch):
    seen = []
    whole = module.hmac.compare_digest
    monkeypatch.setattr(module.hmac, "compare_digest", lambda a, b: seen.append(1) or whole(a, b))
    _, token = held.create(tenant="a", roles=("read",), name="n")
    assert held.find(token)
    assert held.find(f"muma_{'0' * 12}_{'b' * 43}") is None
    assert len(seen) == 2


def test_keys_survive_a_round_through_the_file(held, tmp_path):
    key, _ = held.create(tenant="a", roles=("read", "admin"), name="key of Anna")
    again = KeyFile(tmp_path / "keys.json", clock=lambda: 0)
    assert again.keys() == [key]
    assert msgspec.json.decode(held.path.read_bytes())["format"] == 1
