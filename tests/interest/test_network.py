"""Every form of the network keeps the contract of sequence encoders; and what is the network's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from muma.config import parse
from muma.errors import ConfigError, DataError
from muma.interest.network import InterestNetwork, NetworkConfig
from muma.interest.network_state import State
from muma.interest.table import ItemTable
from muma.testing.encoder_suite import LENGTH, SequenceEncoderSuite, assert_close, random_events
from network_support import FORMS, network


class TestForms(SequenceEncoderSuite):
    @pytest.fixture(params=FORMS)
    def network(self, request):
        return network(request.param).eval()


def test_weights_depend_on_seed_and_name_only():
    one, again, other = network(), network(), network(seed=2)
    more = network("interests")
    for name, weight in one.named_parameters():
        assert torch.equal(weight, dict(again.named_parameters())[name])
        assert torch.equal(weight, dict(more.named_parameters())[name])
    assert not torch.equal(one.recurrent.cell.weight_hh_l0, other.recurrent.cell.weight_hh_l0)


def test_drawing_weights_leaves_dropout_as_seeded():
    events = random_events(1, [LENGTH])
    found = []
    for _ in range(2):
        encoder = network().train()
        with torch.random.fork_rng():
            torch.random.default_generator.manual_seed(5)
            found.append(encoder(events))
    assert torch.equal(*found)
    assert not torch.equal(found[0], network().eval()(events))


def test_config_refuses_what_cannot_be():
    table = ItemTable(8)
    with pytest.raises(ConfigError, match="keep one of them"):
        InterestNetwork(NetworkConfig(width=8, recurrent=None, attention=None), table)
    with pytest.raises(ConfigError, match="width 4"):
        InterestNetwork(NetworkConfig(width=4), table)
    with pytest.raises(ConfigError, match="multiple of heads"):
        network(attention={"use": "muma.interest.transformer.Transformer", "heads": 3})
    with pytest.raises(ConfigError, match="keep one"):
        network(attention={
            "use": "muma.interest.transformer.Transformer",
            "position": {
                "use": "muma.interest.transformer_positions.relative_time.RelativeTime",
                "buckets": 0, "distances": 0,
            },
        })  # fmt: skip
    with pytest.raises(ConfigError, match="max_length"):
        parse(NetworkConfig, {"max_lenght": 3})


def test_a_recipe_leaves_a_part_out():
    found = parse(NetworkConfig, {"attention": False, "interests": False})
    assert found.attention is None
    assert found.interests is None
    assert found.recurrent is not None
    with pytest.raises(ConfigError, match="recurrent"):
        parse(NetworkConfig, {"recurrent": True})


def test_sources_must_be_given():
    events = random_events(1, [3])
    with pytest.raises(DataError, match="sources of width 3; got None"):
        network("sources")(events)
    with pytest.raises(DataError, match="got 5"):
        network("sources")(random_events(1, [3], source_width=5))


def test_timed_gate_needs_the_present():
    events = replace(random_events(1, [3]), wait_BL=None)
    with pytest.raises(DataError, match="at_B"):
        network("fusion-timed")(events)


def test_waiting_moves_the_newest_vector_and_no_other():
    encoder, events = network("fusion-timed").eval(), random_events(1, [LENGTH])
    wait_BL = events.wait_BL.clone()
    wait_BL[:, -1] = 0.0
    fresh = encoder(replace(events, wait_BL=wait_BL))
    assert torch.equal(fresh[:, :-1], encoder(events)[:, :-1])
    assert not torch.equal(fresh[:, -1], encoder(events)[:, -1])


def test_each_input_is_read_when_asked_for():
    events = random_events(3, [LENGTH])
    others = {"kind_BL": "kinds", "dwell_BL": "dwell"}
    for name, option in others.items():
        value = getattr(events, name)
        changed = replace(events, **{name: torch.where(events.mask_BL, value.roll(1, 1), value)})
        assert not torch.equal(network().eval()(changed), network().eval()(events))
        without = network(**{option: False}).eval()
        assert torch.equal(without(changed), without(events))


def test_how_long_is_read_not_only_whether_it_is_known():
    events = random_events(3, [LENGTH])
    longer = replace(events, dwell_BL=torch.where(events.dwell_BL >= 0, events.dwell_BL + 1, -1.0))
    assert not torch.equal(network().eval()(longer), network().eval()(events))
    less = replace(events, dwell_BL=torch.where(events.dwell_BL >= 0, events.dwell_BL, -7.0))
    assert torch.equal(network().eval()(less), network().eval()(events))


def test_scores_are_products_with_every_row():
    events = random_events(1, [4, 7])
    encoder = network().eval()
    user_BD = encoder.user(events)
    expected_BC = np.einsum("bd,cd->bc", *map(_array, (user_BD, encoder.table.weight)))
    np.testing.assert_allclose(
        _array(encoder.score(user_BD, encoder.table)), expected_BC, rtol=1e-5
    )


def test_scores_of_interests_are_the_greatest():
    events = random_events(1, [4, 7])
    encoder = network("interests").eval()
    user_BKD = encoder.user(events)
    product_BKC = np.einsum("bkd,cd->bkc", *map(_array, (user_BKD, encoder.table.weight)))
    found = _array(encoder.score(user_BKD, encoder.table))
    np.testing.assert_allclose(found, product_BKC.max(1), rtol=1e-4, atol=1e-6)
    assert len(np.unique(product_BKC.argmax(1))) > 1


def test_interests_attend_to_the_past_only_by_a_plain_loop():
    heads = network("interests").interests
    h_TD = torch.from_numpy(np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32))
    found_TKD = heads(h_TD[None])[0]
    for t in range(6):
        for k, question_D in enumerate(heads.question.weight):
            logit_J = heads.key(h_TD[: t + 1]) @ question_D / 8**0.5
            pooled_D = torch.softmax(logit_J, 0) @ h_TD[: t + 1]
            assert_close(found_TKD[t, k], h_TD[t] + heads.out(pooled_D))


def test_state_keeps_only_what_is_read():
    shape = network("lstm-plain").state_shape
    assert (shape.states, shape.memory) == (2, 0)
    assert network("gru4rec").state_shape.states == 1
    assert network("sasrec").state_shape.states == 0
    assert network("parallel").state_shape.read == 16
    assert network(memory=1000).state_shape.memory == LENGTH + 2


def test_a_full_memory_forgets_the_oldest_event():
    encoder, events = network("sasrec").eval(), random_events(1, [LENGTH])
    state = network("sasrec", memory=4).eval().start(1)
    for place in range(LENGTH):
        state = encoder.step(
            events.map(lambda value, place=place: value[:, place : place + 1]), state
        )[1]
    cut = events.map(lambda value: value[:, -4:])
    gap_BL = cut.gap_BL.clone()
    gap_BL[:, 0] = 0.0
    assert_close(encoder.user_of(state), encoder.user(replace(cut, gap_BL=gap_BL)))


def test_states_become_arrays_and_come_back():
    encoder, events = network("parallel").eval(), random_events(1, [1, 1], length=1)
    state = encoder.step(events, encoder.start(2))[1]
    again = State.of(state.arrays(np.array([5, 6])))
    for name, value in vars(state).items():
        assert torch.equal(value, getattr(again, name))


def _array(value):
    return value.detach().numpy()
