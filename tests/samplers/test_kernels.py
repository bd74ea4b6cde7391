"""Each primitive agrees with its definition: argmax, a window, a draw with given weights."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from siamese_lab.samplers.kernels import block_selection
from siamese_lab.samplers.kernels.class_index import class_runs
from siamese_lab.samplers.kernels.counter_rng import Noise

CPU = torch.device("cpu")
UNLIKELY = 1e-4
sizes = st.tuples(st.integers(1, 9), st.integers(1, 700).map(block_selection.padded), st.integers(0, 10**6))


def numbers(rows, columns, seed, distinct=50):
    """Return few different values of either sign and 0, so that many are equal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-distinct, distinct, (rows, columns), generator=generator) / distinct


@pytest.mark.parametrize("columns", [1, 8, 9, 63, 64, 65, 128, 1000, 4097, 40_000])
def test_padding_is_small_and_fits_the_blocks(columns):
    padded = block_selection.padded(columns)
    assert columns <= padded < columns + block_selection.block_count(columns)
    assert padded % block_selection.block_count(padded) == 0
    assert block_selection.padded(padded) == padded


@settings(max_examples=100, deadline=None)
@given(size=sizes)
def test_largest_equals_argmax(size):
    x_AC = numbers(*size)
    assert torch.equal(x_AC.gather(1, block_selection.largest(x_AC)[:, None])[:, 0], x_AC.amax(1))


@settings(max_examples=100, deadline=None)
@given(size=sizes, pairs=st.integers(1, 4), together=st.integers(1, 4), drawn=st.booleans())
def test_in_window_agrees_with_a_loop(size, pairs, together, drawn):
    rows, columns, seed = size
    s_AC = numbers(rows, columns, seed)
    s_AC[numbers(rows, columns, seed + 1) > 0.8] = math.inf
    s_AC[:, 0] = -0.5
    s_ap_AR, width_AR = numbers(rows, pairs, seed + 2), numbers(rows, pairs, seed + 3).abs() / 4 + 0.005
    u_AR = torch.rand(rows, pairs, generator=torch.Generator().manual_seed(seed))
    scratch = torch.empty(together * s_AC.numel())
    if drawn:
        index_AR, is_empty_AR = block_selection.draw_in_window(s_AC, s_ap_AR, width_AR, u_AR, scratch)
    else:
        index_AR, is_empty_AR = block_selection.nearest_in_window(s_AC, s_ap_AR, width_AR, scratch)
    for row in range(rows):
        for pair in range(pairs):
            s, s_ap, width = s_AC[row], s_ap_AR[row, pair], width_AR[row, pair]
            chosen, below = s[index_AR[row, pair]], s[s < s_ap]
            window = below[below - s_ap > -width]
            assert is_empty_AR[row, pair] == (len(window) == 0)
            if len(window) and drawn:
                assert chosen in window
            else:
                assert chosen == (below.max() if len(below) else s.min())


@pytest.mark.parametrize("columns", [32, 64, 1024])
def test_draws_from_one_window_are_uniform(columns):
    s_AC = numbers(1, columns, seed=1).repeat(4000, 1)
    near = ((s_AC[0] < 0) & (s_AC[0] > -0.3)).nonzero()[:, 0].tolist()
    zero_A1, u_AR = torch.zeros(4000, 1), Noise(0).uniform((4000, 5), CPU)
    drawn_AR, is_empty_A1 = block_selection.draw_in_window(
        s_AC, zero_A1, zero_A1 + 0.3, u_AR, torch.empty(4000 * columns)
    )
    assert not is_empty_A1.any()
    assert_frequencies(drawn_AR, {column: 1 / len(near) for column in near})


@pytest.mark.parametrize("columns", [32, 64, 1024])
def test_draw_weighted_draws_with_the_weights(columns):
    weight_C = torch.nn.functional.threshold(numbers(1, columns, seed=2)[0], 0.3, 0.0)
    weight_C[3] = 5.0
    drawn_AR = block_selection.draw_weighted(weight_C.expand(4000, -1).contiguous(), Noise(0).uniform((4000, 10), CPU))
    total = float(weight_C.double().sum())
    assert_frequencies(drawn_AR, {n: float(w) / total for n, w in enumerate(weight_C) if w > 0})


@pytest.mark.parametrize("u", [2.0**-24, 1 - 2.0**-24])
def test_draws_near_0_and_1_have_a_weight(u):
    generator = torch.Generator().manual_seed(0)
    weight_AC = torch.rand(500, 256, generator=generator) * (torch.rand(500, 256, generator=generator) < 0.1)
    weight_AC[:, 100] = 1e-20
    drawn_A1 = block_selection.draw_weighted(weight_AC, torch.full((500, 1), u))
    assert (weight_AC.gather(1, drawn_A1) > 0).all()


def test_draw_outside_is_uniform_over_the_other_classes():
    labels_C = torch.tensor([4, 2, 4, 9, 2, 7, torch.iinfo(torch.int64).max])
    runs = class_runs(labels_C, labels_C[:2])
    drawn_BR = block_selection.draw_outside(runs, 6, Noise(0).uniform((2, 20_000), CPU))
    assert_frequencies(drawn_BR[:1], dict.fromkeys((1, 3, 4, 5), 1 / 4))
    assert_frequencies(drawn_BR[1:], dict.fromkeys((0, 2, 3, 5), 1 / 4))


@pytest.mark.parametrize("exponent", [*range(9), 15, 61, 62, 63, 64, 255])
def test_powers(exponent):
    x = torch.linspace(0.75, 1.2, 11)
    torch.testing.assert_close(block_selection.power_(x.clone(), exponent), x**exponent, rtol=5e-5, atol=0)


def test_noise_is_uniform_without_0_and_1_and_calls_and_neighboring_seeds_do_not_correlate():
    noise = Noise(0)
    first, second, other = (source.uniform((200_000,), CPU) for source in (noise, noise, Noise(1)))
    counts = torch.histc(first, 100, 0, 1)
    assert chisquare(counts.tolist()).pvalue > UNLIKELY
    assert 0 < first.min() < first.max() < 1
    correlations = torch.corrcoef(torch.stack([first, second, other, first.roll(1)]))
    assert (correlations - torch.eye(4)).abs().max() < 0.01


def test_noise_is_the_same_on_every_machine():
    assert Noise(-1).uniform((2, 2), CPU).tolist() == Noise(2**64 - 1).uniform((2, 2), CPU).tolist()
    first_of_splitmix64_from_0 = 0xE220A8397B1DCDAF
    noise = Noise(0)
    noise.key.fill_(signed(0x9E3779B97F4A7C15))
    expected = ((first_of_splitmix64_from_0 >> 41) + 0.5) / 2**23
    assert noise.uniform((1,), CPU).item() == expected


def test_numbers_drawn_ahead_equal_those_of_each_call():
    noise = Noise(3)
    for call, size in enumerate([5, 5, 5, 7, 5, 20_000, 20_000, 5]):
        alone = Noise(3)
        alone.calls.fill_(call)
        drawn = noise.uniform((size,), CPU)
        assert torch.equal(drawn, alone.uniform((size,), CPU))
        drawn.zero_()
    state = noise.state_dict()
    expected = noise.uniform((5,), CPU).clone().tolist()
    noise.uniform((5,), CPU).zero_()
    noise.load_state_dict(state)
    assert noise.uniform((5,), CPU).tolist() == expected


def signed(unsigned):
    return unsigned - 2**64 if unsigned >= 2**63 else unsigned


def assert_frequencies(drawn, probabilities):
    counts = Counter(drawn.flatten().tolist())
    assert set(counts) <= set(probabilities)
    expected = [share * counts.total() for share in probabilities.values()]
    assert min(expected) > 5, "too few draws to test"
    assert chisquare([counts[n] for n in probabilities], expected).pvalue > UNLIKELY
