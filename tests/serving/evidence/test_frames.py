from hypothesis import given
from hypothesis import strategies as st

from muma.serving.evidence.frames import (
    ERASED,
    HEAD_BYTES,
    MAGIC,
    PLAIN,
    frames,
    packed,
    request_hash,
    user_hash,
)

payloads = st.lists(st.binary(max_size=30) | st.just(MAGIC * 2), max_size=6)


def lay(parts):
    return b"".join(
        packed(p, codec=PLAIN, flags=ERASED, time=k - 2, request=k, user=2**64 - 1 - k)
        for k, p in enumerate(parts)
    )


@given(payloads)
def test_frames_come_back(parts):
    raw = b"0123" + lay(parts)
    found = list(frames(raw, 4))
    assert [raw[f.begin : f.end] for f in found] == parts
    assert [(f.time, f.request, f.user, f.flags) for f in found] == [
        (k - 2, k, 2**64 - 1 - k, ERASED) for k in range(len(parts))
    ]


@given(payloads, st.data())
def test_a_cut_leaves_the_whole_ones(parts, data):
    raw = lay(parts)
    cut = data.draw(st.integers(0, len(raw)))
    ends = [f.end for f in frames(raw, 0)]
    # a payload may look like the beginning of a frame, and is none
    assert [f.end for f in frames(raw[:cut], 0)] == [end for end in ends if end <= cut]


@given(payloads.filter(bool), st.data())
def test_a_scribble_costs_its_own_frame_only(parts, data):
    raw = bytearray(lay(parts))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    hit = [f.begin - HEAD_BYTES <= at < f.end for f in frames(lay(parts), 0)]
    assert [f.request for f in frames(bytes(raw), 0)] == [k for k, h in enumerate(hit) if not h]


def test_zeros_and_an_absurd_length_are_no_frames():
    one = lay([b"abc"])
    absurd = one[:12] + b"\xff" * 4 + one[16:]
    assert [f.at for f in frames(bytes(100) + absurd + one, 0)] == [100 + len(absurd)]


def test_hashes_tell_apart():
    assert request_hash("a") != request_hash("b")
    assert user_hash("t", None) == 0
    names = [("t", "a"), ("t", "b"), ("ta", ""), ("", "ta")]
    assert len({user_hash(*name) for name in names}) == 4
