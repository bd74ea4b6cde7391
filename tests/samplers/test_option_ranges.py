"""Every strategy chooses as its score defines, over the whole range of every option and for degenerate batches.

`SIAMESE_LAB_DRAWN_BATCHES=100000 pytest -n0 tests/samplers/test_option_ranges.py` draws more batches.

Shapes: A anchors, C candidates, D embedding dimensions, R pairs per anchor, M negatives per pair, N draws of a pair,
T pairs.
"""

import math
import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from option_ranges import BASE, LISTING, OWN, batches
from score_bounds import EveryImageScoredError, Grid, Recorded, ScriptedNoise, define, rounding_of
from shipped import SAMPLERS

from siamese_lab import samplers
from siamese_lab.registry import options_of
from siamese_lab.samplers import Candidates
from siamese_lab.samplers.kernels.tiles import EMPTY_LABEL, MiningInputs

BATCHES = int(os.environ.get("SIAMESE_LAB_DRAWN_BATCHES", "450"))
"""Number of batches to draw, over all strategies."""
DRAWS = 48
"""Number of draws per pair: a probability is measured to 1/48, without chance."""
over_its_range = settings(
    max_examples=-(-BATCHES // len(LISTING)), deadline=None, suppress_health_check=list(HealthCheck), database=None
)


def test_every_strategy_has_ranges():
    assert set(OWN) == set(SAMPLERS)


@pytest.mark.parametrize("name", SAMPLERS)
@settings(max_examples=3, deadline=None, database=None)
@given(data=st.data())
def test_every_option_of_every_strategy_has_a_range(name, data):
    """A new option needs a range in `option_ranges`."""
    drawn, options = set(data.draw(OWN[name])) | set(BASE), set(options_of(samplers.registry.classes[name]))
    assert drawn == options, f"option_ranges draws {sorted(drawn)}, but the options of {name} are {sorted(options)}"


def within_it(sampler, progress):
    """Return the strategy that chooses: that of the memory, or that of the stage of a curriculum."""
    if isinstance(sampler, samplers.registry.classes["memory"]):
        return sampler.strategy
    if isinstance(sampler, samplers.registry.classes["curriculum"]):
        return sampler.strategies[sampler.stage(progress)]
    return sampler


def inputs_of(sampler, batch, before, progress):
    """Mine, and return the selection and the inputs with which the strategy chose."""
    strategy, kept = within_it(sampler, progress), []
    choose = strategy.select

    def select(inputs: MiningInputs):
        kept.append(inputs)
        return choose(inputs)

    for each in before:
        sampler.mine(*each[:2], progress=progress)
    strategy.select = select
    try:
        return sampler.mine(*batch[:2], progress=progress), kept[0]
    finally:
        del strategy.select


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTING)
@over_its_range
@given(data=st.data())
def test_the_choice_is_what_the_score_defines(name, data):
    options = data.draw(OWN[name], "options") | data.draw(st.fixed_dictionaries(BASE), "base")
    batch = data.draw(batches(), "batch")
    progress = data.draw(st.floats(0, 1), "progress")
    options["images_per_class"] = data.draw(st.sampled_from([None, batch.images_per_class]))
    sampler = samplers.build(name, **options)
    before = [batch._replace(z_BD=batch.z_BD.roll(turn, 0)) for turn in range(1, 3)] if sampler.uses_memory else []
    fewest = len(batch.labels_B) - int(batch.labels_B.unique(return_counts=True)[1].max())
    if options["num_negatives"] > fewest:
        with pytest.raises(ValueError, match=rf"num_negatives={options['num_negatives']} .* have only {fewest}\."):
            sampler.mine(*batch[:2], progress=progress)
        return
    noise = within_it(sampler, progress).noise = Recorded(options["seed"])
    selection, inputs = inputs_of(sampler, batch, before, progress)
    assert_valid(selection, inputs, options["num_negatives"])
    strategy = within_it(sampler, progress)
    choice = None if options["num_negatives"] > 1 else choice_of_a_grid(strategy, inputs)
    if choice is None:
        assert_the_highest_scores(strategy, selection, inputs, noise)
    else:
        assert_drawn_as_defined(strategy, inputs, choice)


def assert_valid(selection, inputs, negatives):
    """Assert that each anchor with a positive has pairs of its class and different negatives of others."""
    anchor_T, positive_T, negative_TM = selection.triplets
    labels_C, batch = inputs.labels_C, len(inputs.classes.own_BK)
    assert (anchor_T != positive_T).all()
    assert (positive_T < batch).all()
    assert (labels_C[anchor_T] == labels_C[positive_T]).all()
    assert (labels_C[negative_TM] != labels_C[anchor_T][:, None]).all()
    assert (labels_C[negative_TM] != EMPTY_LABEL).all()
    ordered_TM = negative_TM.sort(1).values
    assert negative_TM.shape[1] == negatives
    assert (ordered_TM[:, 1:] != ordered_TM[:, :-1]).all()
    with_positive_A = (labels_C[:batch, None] == labels_C[:batch]).sum(1) > 1
    assert torch.equal(anchor_T.unique(), with_positive_A.nonzero()[:, 0])


def bounds_of(strategy, inputs, positive_AR, noise=()):
    is_empty_C = inputs.labels_C == EMPTY_LABEL
    own = strategy.noise
    try:
        return define(strategy, inputs.z_CD, inputs.labels_C, is_empty_C, positive_AR, list(noise))
    finally:
        strategy.noise = own


def choice_of_a_grid(strategy, inputs):
    """Choose for evenly spaced random numbers; return None if the strategy draws a number for every image instead."""
    classes = inputs.classes
    repeated = classes._replace(
        positive_BR=classes.positive_BR.repeat_interleave(DRAWS, 1),
        valid_BR=classes.valid_BR.repeat_interleave(DRAWS, 1),
    )
    own, strategy.noise = strategy.noise, Grid(repeated.positive_BR.shape, DRAWS)
    try:
        return strategy.choose(inputs._replace(classes=repeated))
    except EveryImageScoredError:
        return None
    finally:
        strategy.noise = own


def assert_drawn_as_defined(strategy, inputs, choice):
    """Compare how often each image is chosen with its probability."""
    assert_positives(strategy, inputs)
    classes = inputs.classes
    draws = DRAWS if choice.positive_AR.shape[1] == DRAWS * classes.positive_BR.shape[1] else 1
    positive_AR = choice.positive_AR[:, ::draws]
    valid_T = classes.valid_BR[:, : positive_AR.shape[1]].flatten()
    negative_TN = choice.negative_ARM.reshape(len(valid_T), draws)[valid_T]
    fell_back_TN = choice.fell_back_ARM.reshape(len(valid_T), draws)[valid_T]
    score, fallback = bounds_of(strategy, inputs, positive_AR)
    score, fallback = (
        each._replace(low_TC=each.low_TC[valid_T], high_TC=each.high_TC[valid_T]) for each in (score, fallback)
    )
    must_T, may_T = (score.low_TC > -math.inf).any(1), (score.high_TC > -math.inf).any(1)
    assert not fell_back_TN[must_T].any(), "a pair with an eligible negative fell back"
    assert fell_back_TN[~may_T].all(), "a pair without an eligible negative did not fall back"
    assert (fell_back_TN == fell_back_TN[:, :1]).all()
    count_TC = torch.zeros_like(score.low_TC).scatter_add_(
        1, negative_TN, torch.ones_like(negative_TN, dtype=torch.float)
    )
    fell_back_T = fell_back_TN[:, 0]
    for bounds, rows_T in ((score, ~fell_back_T), (fallback, fell_back_T)):
        part = bounds._replace(low_TC=bounds.low_TC[rows_T], high_TC=bounds.high_TC[rows_T])
        assert not (count_TC[rows_T] > 0)[~part.may_be_best()].any(), "an image was chosen that the score excludes"
        if part.is_drawn and rows_T.any():
            least_TC, most_TC = part.probabilities()
            assert (count_TC[rows_T] >= draws * least_TC - 1.01).all(), "an image is chosen too rarely"
            assert (count_TC[rows_T] <= draws * most_TC + 1.01).all(), "an image is chosen too often"


def assert_the_highest_scores(strategy, selection, inputs, noise):
    """Assert that the M negatives are those with the highest scores under the same random numbers."""
    triplets = selection.listed()
    numbers = noise.kept[-noise_calls(strategy) :] if noise_calls(strategy) else []
    positive_AR = strategy_pairs(strategy, inputs)
    score, fallback = bounds_of(strategy, inputs, positive_AR, numbers)
    rows = inputs.classes.valid_BR[:, : positive_AR.shape[1]].flatten().nonzero()[:, 0].tolist()
    assert len(rows) == len(triplets.anchor_T)
    for row, chosen, fell_back in zip(rows, triplets.negative_TM.tolist(), selection.fallback_TM.tolist(), strict=True):
        assert_ranked(score, fallback, row, chosen, fell_back)


def noise_calls(strategy):
    """Return how often score and fallback together draw random numbers."""
    unit_BB, count = torch.ones(2, 2), ScriptedNoise()
    own, strategy.noise = strategy.noise, count
    strategy.score(Candidates(unit_BB[:, :1], unit_BB, 4, unit_BB[:, :1]))
    strategy.fallback(Candidates(unit_BB[:, :1], unit_BB, 4, unit_BB[:, :1]))
    strategy.noise = own
    return count.asked


def strategy_pairs(strategy, inputs):
    """Return the positives that the strategy takes."""
    own, strategy.noise = strategy.noise, ScriptedNoise()
    positive_AR = strategy.choose(inputs).positive_AR
    strategy.noise = own
    return positive_AR


def assert_ranked(score, fallback, row, chosen, fell_back):
    """Assert for one pair: first the eligible images by score, then the others by fallback."""
    eligible = int((score.low_TC[row] > -math.inf).sum()), int((score.high_TC[row] > -math.inf).sum())
    assert min(eligible[0], len(chosen)) <= fell_back.count(False) <= min(eligible[1], len(chosen))
    assert fell_back == sorted(fell_back), "an eligible image comes after a fallback"
    rest = set(range(score.low_TC.shape[1]))
    for n, is_fallback in zip(chosen, fell_back, strict=True):
        bounds = fallback if is_fallback else score
        if is_fallback:
            rest -= {each for each in rest if score.low_TC[row, each] > -math.inf}
        best = max((float(bounds.low_TC[row, each]) for each in rest), default=-math.inf)
        assert float(bounds.high_TC[row, n]) >= best, "another image has a higher score"
        rest.discard(n)


def assert_positives(strategy, inputs):
    """Assert that the strategy takes the positives of its definition."""
    positive_AR, rounding = strategy_pairs(strategy, inputs), rounding_of(inputs.z_CD)
    classes, name = inputs.classes, samplers_name(strategy)
    z_BD = inputs.z_CD[: len(positive_AR)].double()
    squared_BB = (2 - 2 * z_BD @ z_BD.T).clamp(0, 4)
    labels_B = inputs.labels_C[: len(z_BD)]
    for anchor in range(len(z_BD)):
        own = [p for p in range(len(z_BD)) if p != anchor and labels_B[p] == labels_B[anchor]]
        if not own:
            continue
        d2 = squared_BB[anchor]
        taken = positive_AR[anchor][classes.valid_BR[anchor][: positive_AR.shape[1]]].tolist()
        nearest, farthest = float(d2[own].min()), float(d2[own].max())
        if name == "batch_hard":
            assert len(taken) == 1
            assert float(d2[taken[0]]) >= farthest - rounding
        elif name == "easy_positive":
            assert len(taken) == len(own)
            assert len(set(taken)) == 1
            assert float(d2[taken[0]]) <= nearest + rounding
        elif name == "multi_similarity":
            assert_informative(strategy, inputs, anchor, own, taken, d2)
        else:
            assert sorted(taken) == own


def assert_informative(strategy, inputs, anchor, own, taken, d2):
    """Assert that informative positives are taken, and the farthest one in place of each other."""
    z_CD, rounding = inputs.z_CD.double(), rounding_of(inputs.z_CD)
    other_C = (inputs.labels_C != inputs.labels_C[anchor]) & (inputs.labels_C != EMPTY_LABEL)
    s_an = float((z_CD[anchor] @ z_CD.T)[other_C].max())
    for p, instead in zip(inputs.classes.positive_BR[anchor].tolist(), taken, strict=False):
        beyond = (1 - float(d2[p]) / 2) - s_an - strategy.epsilon
        if beyond < -rounding:
            assert instead == p
        elif beyond > rounding:
            assert float(d2[instead]) >= float(d2[own].max()) - rounding


def samplers_name(strategy):
    return next(name for name, cls in samplers.registry.classes.items() if type(strategy) is cls)


@pytest.mark.parametrize("name", LISTING)
@settings(max_examples=max(5, BATCHES // 100), deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_nan_gives_indices_of_candidates_over_the_whole_range(name, data):
    batch, options = data.draw(batches()), data.draw(OWN[name])
    z_BD = batch.z_BD.clone()
    z_BD[data.draw(st.integers(0, len(z_BD) - 1))] = math.nan
    selection = samplers.build(name, finite_only=False, **options).mine(z_BD, batch.labels_B, progress=0.5)
    candidates = len(selection.candidates_CD)
    assert all(((index >= 0) & (index < candidates)).all() for index in selection.triplets)


@pytest.mark.parametrize("name", SAMPLERS)
@settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_one_class_is_refused_over_the_whole_range(name, data):
    batch, options = data.draw(batches()), data.draw(OWN[name])
    with pytest.raises(ValueError, match="of one class, so there are no negatives"):
        samplers.build(name, **options).mine(batch.z_BD, torch.full_like(batch.labels_B, 3))


def test_similarities_of_multi_similarity_end_at_1_as_distances_end_at_0():
    """Embeddings in bfloat16 have norms slightly above 1, so the dot products of equal images do, too."""
    first, second, third = (-0.8945, 0.4512), (-0.8750, 0.4844), (-0.1943, 0.9805)
    z_BD = torch.tensor([first, second, first, third], dtype=torch.bfloat16)
    labels_B = torch.tensor([0, 0, 1, 1])
    selection = samplers.build("multi_similarity", epsilon=0.0, finite_only=False).mine(z_BD, labels_B)
    anchor_T, _, negative_TM = selection.listed()
    assert selection.fallback_TM[anchor_T == 0].all(), "no negative is more similar than the positive at distance 0"
    assert negative_TM[anchor_T == 0].tolist() == [[2]]
