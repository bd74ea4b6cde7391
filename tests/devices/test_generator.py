"""A generator starts from its seed on the device of its first use, and continues from a stored state."""

import pytest
import torch

from siamese_lab.devices.generator import DeviceGenerator

CPU = torch.device("cpu")


def draws(generator: DeviceGenerator) -> list[float]:
    return torch.rand(4, generator=generator.on(CPU)).tolist()


def test_the_seed_decides_also_when_it_is_zero() -> None:
    assert draws(DeviceGenerator(0)) == draws(DeviceGenerator(0)) != draws(DeviceGenerator(1))


def test_a_stored_state_continues_after_a_file(tmp_path) -> None:
    generator = DeviceGenerator(0)
    draws(generator)
    torch.save(generator.state_dict(), tmp_path / "state.pt")
    expected = draws(generator)
    other = DeviceGenerator(5)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draws(other) == expected


def test_the_state_of_an_unused_generator_starts_from_the_seed() -> None:
    generator = DeviceGenerator(3)
    expected = draws(generator)
    draws(generator)
    generator.load_state_dict(DeviceGenerator(3).state_dict())
    assert draws(generator) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_state_of_an_absent_gpu_starts_from_the_seed() -> None:
    generator = DeviceGenerator(3)
    expected = draws(generator)
    generator.load_state_dict({"device": "cuda:0", "state": torch.zeros(16, dtype=torch.uint8)})
    assert draws(generator) == expected
