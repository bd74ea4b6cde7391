"""Each loss learns from the triplets of each strategy, or is refused before training."""

from itertools import product

import pytest
import torch
from conftest import compose, compose_pair
from shipped import LABEL_LOSSES, LOSSES, SAMPLERS

from siamese_lab import losses, samplers
from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.errors import UserError
from siamese_lab.training.build import build_datamodule, build_module

PAIRS = set(product(samplers.available(), losses.available()))
NO_MEANING = {
    (sampler, loss)
    for sampler, loss in PAIRS
    if samplers.registry.classes[sampler].triplet_type not in losses.registry.classes[loss].accepted_types
}


@pytest.fixture(scope="module")
def digits():
    config = compose("data.augment=null")
    datamodule = build_datamodule(config)
    batches = iter(datamodule.train_dataloader())
    return datamodule, [next(batches) for _ in range(2)]


@pytest.mark.parametrize(("sampler", "loss"), sorted(PAIRS - NO_MEANING))
def test_a_step_gives_finite_gradients_everywhere(sampler, loss, digits):
    datamodule, batches = digits
    is_shipped = sampler in SAMPLERS and loss in LOSSES
    module = build_module(compose_pair(sampler, loss, "network.width=16"), datamodule)
    for images_BCHW, labels_B, *_ in batches:
        z_BD = module.network(to_float(images_BCHW))
        selection = module.sampler.mine(z_BD.detach(), labels_B)
        value, statistics, _ = module.loss(selection, z_BD, labels_B)
        value.backward()
        assert value.isfinite()
        assert value > 0 or not is_shipped
        if is_shipped and loss not in LABEL_LOSSES:
            assert 0 < statistics["active_share"] <= 1
    learnt = [*module.network.parameters(), *module.loss.parameters()]
    assert all(each.grad.isfinite().all() for each in learnt)
    assert any(each.grad.any() for each in learnt) or not is_shipped


def test_only_the_triplet_loss_takes_all_and_only_losses_of_labels_take_none():
    def has_meaning(sampler, loss):
        if loss in LABEL_LOSSES or sampler == "none":
            return loss in LABEL_LOSSES and sampler == "none"
        return sampler != "all" or loss == "triplet"

    pairs = set(product(SAMPLERS, LOSSES))
    assert NO_MEANING & pairs == {pair for pair in pairs if not has_meaning(*pair)}


@pytest.mark.parametrize(("sampler", "loss"), sorted(NO_MEANING))
def test_invalid_combinations_are_refused_before_training(sampler, loss, digits):
    cure = {"none": "loss to .*softmax"}.get(
        sampler, "sampler=none" if loss in LABEL_LOSSES else "Set loss to .*triplet"
    )
    with pytest.raises(UserError, match=rf"loss={loss} .*sampler={sampler}.*{cure}"):
        build_module(compose_pair(sampler, loss), digits[0])


def test_free_norms_are_mined_and_compared_by_direction(digits):
    images, [batch, _] = digits
    free = ["loss=n_pair", "loss.l2_penalty=0.001", "loss.temperature=1", "network.normalize=false"]
    module = build_module(compose(*free, "sampler.num_negatives=5"), images)
    z_BD = module.network(to_float(batch.images_BCHW))
    assert (z_BD.norm(dim=1) - 1).abs().max() > 0.01
    selection = module.sampler.mine(module.network.unit_vectors(z_BD.detach()), batch.labels_B)
    assert selection.triplets.negative_TM.shape[1] == 5
    module.loss(selection, z_BD, batch.labels_B).value.backward()
    assert all(torch.isfinite(each.grad).all() for each in module.network.parameters())
