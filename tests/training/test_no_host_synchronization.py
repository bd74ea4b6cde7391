"""A training step on a GPU never makes the host wait, shown without a GPU.

Fake CUDA tensors (torch's FakeTensorMode) take the branches of a GPU. They raise at every call with a result that
depends on data: `.item()`, `.tolist()`, `bool(tensor)`, boolean indexing, `nonzero`. If torch was built with CUDA but
finds no GPU, its autograd engine refuses fake CUDA tensors. So the whole step, including backward and optimizer, also
runs on `meta` tensors, which refuse the same calls and copies to the host as well.
"""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import compose, compose_pair
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode  # has no public name

from siamese_lab import distances, losses, samplers
from siamese_lab.batch import Batch, NoTriplets
from siamese_lab.data.augment.pipeline import Augmentation
from siamese_lab.training import timing
from siamese_lab.training.build import build_datamodule, build_module
from siamese_lab.training.module import SiameseModule

PAIRS = sorted(
    (sampler, loss)
    for sampler, loss in product(samplers.available(), losses.available())
    if samplers.registry.classes[sampler].triplet_type in losses.registry.classes[loss].accepted_types
)
AUGMENTATION = {"rotation": 10, "scale": 0.1, "mirror": True, "brightness": 0.2, "contrast": 0.2, "erasing": 0.5}
AUGMENTATION |= {"crop_scale": [0.5, 1.0]}
NETWORK = ("network.width=8", "network.dropout=0.1", "network.batch_norm=true")


class Event:
    """A CUDA event that is always over; waiting for it raises."""

    def __init__(self, enable_timing: bool = False) -> None:
        assert enable_timing

    def record(self) -> None:
        """Do nothing in place of a mark in the stream."""

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: "Event") -> float:
        return 1.0

    def synchronize(self) -> None:
        raise AssertionError("A step waits for a CUDA event.")


class StepModule(SiameseModule):
    """Build the module of a run with a logger that keeps all metrics."""

    logged: dict[str, Any]

    @property
    def trainer(self) -> Any:
        return SimpleNamespace(max_steps=10, log_every_n_steps=1, world_size=1, global_step=4)

    @property
    def global_step(self) -> int:
        return 4

    def log(self, name: str, value: Any, *_: Any, **__: Any) -> None:
        self.logged[name] = value

    def log_dict(self, dictionary: Mapping[str, Any], *_: Any, **__: Any) -> None:
        self.logged |= dictionary

    def optimizers(self, *_: Any) -> Any:
        return SimpleNamespace(param_groups=[{"lr": 0.1}])


@pytest.fixture(scope="module")
def datamodule() -> Any:
    return build_datamodule(compose("data.classes_per_batch=4", "data.images_per_class=4"))


@pytest.fixture(autouse=True)
def without_a_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replace the three parts that need hardware: events, a generator on the device, autocast of `meta`."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    make = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": make("cpu"))
    full_float32 = distances.full_float32
    monkeypatch.setattr(
        distances, "full_float32", lambda device: nullcontext() if device.type == "meta" else full_float32(device)
    )
    yield


def step_module(datamodule: Any, sampler: str, loss: str = "triplet") -> StepModule:
    module = build_module(compose_pair(sampler, loss, *NETWORK), datamodule)
    module.__class__ = StepModule
    module.logged = {}
    return module.train()


def moved(module: StepModule, device: str) -> StepModule:
    """Put uninitialized parameters and buffers on a device that need not exist."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(torch.empty_like(parameter, device=device))
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty_like(buffer, device=device)
    return module


def batch(datamodule: Any, device: str) -> Batch:
    """Return sixteen augmented images of four classes, as they arrive from the data module."""
    side = datamodule.image_size
    images_BCHW = torch.empty(16, datamodule.channels, side, side, dtype=torch.uint8, device=device)
    augmented_BCHW = Augmentation(**AUGMENTATION)(images_BCHW)
    ids_B = torch.empty(16, dtype=torch.int64, device=device)
    return Batch(augmented_BCHW, torch.empty_like(ids_B), ids_B)


def assert_all_tensors_on_the_device(module: StepModule, device: str) -> None:
    assert {"train/loss", "train/mining_ms"} <= module.logged.keys()
    assert module.sampler.triplet_type is NoTriplets or "train/active_share" in module.logged
    tensors = [value for value in module.logged.values() if isinstance(value, Tensor)]
    assert len(tensors) >= 2
    assert all(value.device.type == device for value in tensors)


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "loss"), PAIRS)
def test_a_step_on_cuda_does_not_depend_on_data_up_to_its_loss_and_statistics(
    sampler: str, loss: str, datamodule: Any
) -> None:
    module = step_module(datamodule, sampler, loss)
    with FakeTensorMode(allow_non_fake_inputs=True):
        output = moved(module, "cuda").training_step(batch(datamodule, "cuda"), 0)
        assert output["loss"].device.type == "cuda"
        if torch.cuda.is_available():
            output["loss"].backward()
    assert_all_tensors_on_the_device(module, "cuda")


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "loss"), PAIRS)
def test_a_whole_step_with_backward_and_optimizer_does_not_depend_on_data(
    sampler: str, loss: str, datamodule: Any
) -> None:
    module = step_module(datamodule, sampler, loss)
    moved(module, "meta")
    optimizer = module.configure_optimizers()["optimizer"]
    for group in optimizer.param_groups:
        group["fused"] = False  # the fused kernel has no meta implementation; on a GPU it is one launch
    module.training_step(batch(datamodule, "meta"), 0)["loss"].backward()
    optimizer.step()
    assert all(each.grad is not None and each.grad.device.type == "meta" for each in module.parameters())
    assert_all_tensors_on_the_device(module, "meta")


def item(z_BD: Tensor) -> Any:
    return z_BD.sum().item()


def branch(z_BD: Tensor) -> Any:
    return 1 if z_BD.sum() > 0 else 0


def boolean_index(z_BD: Tensor) -> Any:
    return z_BD[z_BD > 0]


@pytest.mark.parametrize("device", ["cuda", "meta"])
@pytest.mark.parametrize("call", [item, branch, boolean_index])
def test_a_strategy_that_waits_for_its_data_is_found(call: Any, device: str, datamodule: Any) -> None:
    """Each kind of waiting call raises on both kinds of tensors, so the check can fail."""
    module = step_module(datamodule, "hard")
    score = module.sampler.select
    module.sampler.select = lambda inputs: (call(inputs.z_CD), score(inputs))[1]
    mode = FakeTensorMode(allow_non_fake_inputs=True) if device == "cuda" else nullcontext()
    with mode, pytest.raises((RuntimeError, NotImplementedError)):
        moved(module, device).training_step(batch(datamodule, device), 0)


def test_the_latest_time_of_a_gpu_belongs_to_a_finished_block() -> None:
    class Running(Event):
        def query(self) -> bool:
            return False

    watch = timing.Timer()
    with watch.running(torch.device("cuda")):
        pass
    assert watch.latest() == pytest.approx(0.001)
    watch._pending.append((Event(True), Running(True)))
    assert watch.latest() == pytest.approx(0.001)
