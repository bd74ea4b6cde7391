"""A step of every strategy, compiled as one graph, selects and learns the same, and a GPU never waits for the host."""

import pytest
import torch
from sampler_oracles import clustered_embeddings, pk_labels

from siamese_lab import losses, samplers
from siamese_lab.samplers.statistics import describe

pytestmark = pytest.mark.slow


def batch(seed, device="cpu"):
    labels_B = pk_labels(6, 4, seed).unique(return_inverse=True)[1]  # 0 to 5, as in training
    return clustered_embeddings(labels_B, 16, 1.5, seed).to(device), labels_B.to(device)


def loss_for(name):
    """Return the triplet loss, or the softmax loss for the strategy that selects nothing."""
    return losses.build("softmax", classes=6, dimensions=16) if name == "none" else losses.build("triplet")


def step(sampler, loss):
    """Return a function that selects, computes the loss and describes both."""

    def one(z_BD, labels_B, progress=0.0):
        selection = sampler.mine(z_BD.detach(), labels_B, progress=progress)
        value, of_loss, distances = loss(selection, z_BD, labels_B)
        return selection.triplets, value, {**describe(selection, distances), **of_loss}

    return one


def learn(one, seed, progress=0.0):
    z_BD, labels_B = batch(seed)
    z_BD.requires_grad_()
    triplets, loss, statistics = one(z_BD, labels_B, progress)
    loss.backward()
    return triplets, loss.detach(), z_BD.grad, statistics


@pytest.fixture(autouse=True)
def reset_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("name", samplers.available())
def test_a_compiled_step_equals_the_plain_step(name):
    """Three steps need no recompilation; a memory compiles again at its first step, when it allocates its ring."""
    plain, compiled = (step(samplers.build(name, images_per_class=4), loss_for(name)) for _ in range(2))
    compiled = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    for seed in range(4):
        with torch._dynamo.config.patch(error_on_recompile=seed > 1):  # torch has no public switch for this
            (expected, *of_plain), (triplets, *learnt) = learn(plain, seed), learn(compiled, seed)
        for ours, theirs in zip(triplets, expected, strict=True):
            assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs
        torch.testing.assert_close(learnt, of_plain)


@pytest.mark.nightly
def test_inductor_code_gives_the_same_triplets():
    plain, compiled = (
        step(samplers.build("distance_weighted", images_per_class=4), losses.build("triplet")) for _ in "ab"
    )
    compiled = torch.compile(compiled, fullgraph=True)
    for seed in range(2):
        (expected, *of_plain), (triplets, *learnt) = learn(plain, seed), learn(compiled, seed)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(triplets, expected, strict=True))
        torch.testing.assert_close(learnt, of_plain)


def test_progress_within_a_stage_needs_no_recompilation():
    """Only the first change of progress compiles again, because it turns a constant into a variable."""
    sampler = samplers.build("curriculum", images_per_class=4)
    compiled = torch.compile(step(sampler, losses.build("triplet")), fullgraph=True, backend="aot_eager")
    for number, progress in enumerate((0.2, 0.3, 0.4, 0.5)):
        with torch._dynamo.config.patch(error_on_recompile=number > 1):  # torch has no public switch for this
            learn(compiled, 0, progress)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", samplers.available())
def test_a_step_on_a_gpu_does_not_wait(name):
    sampler = samplers.build(name, images_per_class=4).to("cuda")
    one = step(sampler, loss_for(name).to("cuda"))
    z_BD, labels_B = batch(0, "cuda")
    z_BD.requires_grad_()
    one(z_BD, labels_B)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        one(z_BD, labels_B, 0.5)[1].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", samplers.available())
def test_a_step_can_be_captured_in_a_cuda_graph(name):
    sampler, alone = (samplers.build(name, images_per_class=4).to("cuda") for _ in range(2))
    loss = loss_for(name).to("cuda")
    z_BD, labels_B = batch(0, "cuda")
    z_BD.requires_grad_()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(sampler, loss)(z_BD, labels_B)[1].backward()
            expected = step(alone, loss)(z_BD, labels_B)[0]
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        triplets, *_ = step(sampler, loss)(z_BD, labels_B)
    for _ in range(2):
        graph.replay()
        expected = step(alone, loss)(z_BD, labels_B)[0]
        assert all(torch.equal(*each) for each in zip(triplets[:3], expected[:3], strict=True))
