"""The curriculum selects like the strategy of its stage."""

import pytest
import torch
from sampler_oracles import clustered_embeddings, pk_labels, rows, statistics_of

from siamese_lab import samplers

STAGES = [
    {"name": "batch_hard", "until": 0.25},
    {"name": "memory", "strategy": "hard", "size": 9, "until": 0.5},
    {"name": "semi_hard", "choice": "nearest", "margin": 0.4, "until": 1.0},
]


def batch(seed=0):
    labels_B = pk_labels(5, 3, seed)
    return clustered_embeddings(labels_B, 8, 2.0, seed), labels_B


@pytest.mark.parametrize(
    ("progress", "stage"), [(0.0, 0), (0.2499, 0), (0.25, 1), (0.4, 1), (0.5, 2), (0.99, 2), (1.0, 2), (1.1, 2)]
)
def test_progress_decides_the_stage(progress, stage):
    curriculum = samplers.build("curriculum", stages=STAGES)
    assert curriculum.stage(progress) == stage
    options = {key: value for key, value in STAGES[stage].items() if key != "until"}
    alone = samplers.build(**options)
    for seed in range(2):
        selection, of_alone = curriculum.mine(*batch(seed), progress=progress), alone.mine(*batch(seed))
        assert rows(selection.triplets) == rows(of_alone.triplets)
        assert torch.equal(selection.candidates_CD, of_alone.candidates_CD)
        assert torch.equal(selection.fallback_TM, of_alone.fallback_TM)
        expected = statistics_of(of_alone) | {"stage": torch.tensor(float(stage))}
        statistics = statistics_of(selection)
        assert statistics.keys() == expected.keys()
        assert all(torch.equal(statistics[name], value) for name, value in expected.items())


def test_without_progress_the_first_stage_is_used():
    assert len(samplers.build("curriculum", stages=STAGES)(*batch()).anchor_T) == 15


def test_options_of_the_base_reach_every_stage():
    curriculum = samplers.build("curriculum", stages=STAGES, num_negatives=2, images_per_class=3)
    for progress in (0.0, 0.3, 0.6):
        assert curriculum.mine(*batch(), progress=progress).triplets.negative_TM.shape[1] == 2
        assert curriculum.strategies[curriculum.stage(progress)].images_per_class == 3


def test_a_memory_passes_the_progress_on():
    memory = samplers.build("memory", strategy="curriculum")
    assert [memory.mine(*batch(), progress=share).statistics["stage"] for share in (0.0, 0.3, 0.9)] == [0, 1, 2]


def test_a_checkpoint_keeps_the_memory_of_a_stage():
    curriculum = samplers.build("curriculum", stages=STAGES)
    curriculum.mine(*batch(0), progress=0.3)
    resumed = samplers.build("curriculum", stages=STAGES)
    resumed.load_state_dict(curriculum.state_dict())
    selections = [each.mine(*batch(1), progress=0.3) for each in (resumed, curriculum)]
    assert rows(selections[0].triplets) == rows(selections[1].triplets)
    assert (selections[0].triplets.negative_TM >= len(batch(1)[0])).any()
