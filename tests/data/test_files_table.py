"""Processes that decode images hand them over, or the run ends with a message."""

from collections.abc import Iterator

import pytest
import torch

from siamese_lab.data.tables import files_table


class FullMemory(torch.Tensor):
    def share_memory_(self) -> "FullMemory":
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


class Broken(torch.Tensor):
    def share_memory_(self) -> "Broken":
        raise RuntimeError("anything else")


def test_full_shared_memory_is_a_message_instead_of_an_endless_wait() -> None:
    message = files_table._shared(torch.zeros(2).as_subclass(FullMemory))
    assert isinstance(message, str)
    for part in ("/dev/shm", "data.workers=0", "--shm-size"):
        assert part in message
    assert files_table._shared(torch.zeros(2)).is_shared()
    with pytest.raises(RuntimeError, match="anything else"):
        files_table._shared(torch.zeros(2).as_subclass(Broken))


@pytest.mark.parametrize(
    ("error", "is_message"),
    [("DataLoader worker (pid 7) is killed by signal: Killed.", True), ("The size of tensor a must match", False)],
)
def test_a_killed_process_is_a_message_and_a_bug_is_not(error: str, is_message: bool) -> None:
    def batches() -> Iterator[torch.Tensor]:
        raise RuntimeError(error)
        yield torch.zeros(1)

    if is_message:
        message = files_table._next(batches())
        assert isinstance(message, str) and "data.workers=0" in message and "pid 7" in message
    else:
        with pytest.raises(RuntimeError, match=error):
            files_table._next(batches())
