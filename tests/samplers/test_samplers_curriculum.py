"""The curriculum is the strategy of its stage, whatever that is."""

import pytest
import torch
from sampler_oracles import clustered_embeddings, pk_labels, rows

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
def test_progress_decides(progress, stage):
    curriculum = samplers.build("curriculum", stages=STAGES)
    curriculum.progress = progress
    options = {key: value for key, value in STAGES[stage].items() if key != "until"}
    alone = samplers.build(**options)
    for seed in range(2):
        assert rows(curriculum(*batch(seed))) == rows(alone(*batch(seed)))
        z_BD = batch(seed)[0]
        assert torch.equal(curriculum.pool(z_BD), alone.pool(z_BD))
    assert curriculum.progress == progress
    expected = alone.statistics() | {"stage": torch.tensor(float(stage))}
    assert curriculum.statistics().keys() == expected.keys()
    assert all(torch.equal(curriculum.statistics()[name], value) for name, value in expected.items())


def test_before_any_progress_is_told_it_is_the_first_stage():
    assert len(samplers.build("curriculum", stages=STAGES)(*batch()).anchor_T) == 15


def test_options_of_the_base_reach_every_stage():
    curriculum = samplers.build("curriculum", stages=STAGES, negatives=2, images_per_class=3)
    for progress in (0.0, 0.3, 0.6):
        curriculum.progress = progress
        assert curriculum(*batch()).negative_TM.shape[1] == 2
        assert curriculum.current.images_per_class == 3


def test_a_memory_passes_the_progress_on():
    memory = samplers.build("memory", strategy="curriculum")
    memory.progress = 0.9
    assert memory.strategy.stage == 2
    assert memory.progress == 0.9


def test_a_checkpoint_keeps_the_memory_of_a_stage():
    curriculum = samplers.build("curriculum", stages=STAGES)
    curriculum.progress = 0.3
    curriculum(*batch(0))
    resumed = samplers.build("curriculum", stages=STAGES)
    resumed.load_state_dict(curriculum.state_dict())
    resumed.progress = 0.3
    assert rows(resumed(*batch(1))) == rows(curriculum(*batch(1)))
