"""A loss that is not finite ends the run before it can spoil a checkpoint."""

from pathlib import Path

import pytest
import torch
from conftest import quick_run

from siamese_lab.errors import NonFiniteLossError
from siamese_lab.runs import results
from siamese_lab.training.module import SiameseModule

pytestmark = pytest.mark.slow

STEP = 5


def test_the_message_names_step_and_triplets_and_the_last_good_checkpoint_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training_step = SiameseModule.training_step

    def one_bad_image(self: SiameseModule, batch, batch_idx: int) -> dict:
        if self.global_step + 1 == STEP:
            batch.images_BCHW[7] = torch.nan
            self.network.eval()  # so that batch norm does not spread the NaN
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(SiameseModule, "training_step", one_bad_image)
    with pytest.raises(
        NonFiniteLossError, match=f"The loss of step {STEP} is nan: 1 of 48 embeddings are not finite"
    ) as raised:
        quick_run(tmp_path, "trainer.val_check_interval=2", "sampler=random")

    assert "(anchor, positive, negative) = (" in str(raised.value)
    assert "7" in str(raised.value).split("such as")[1]
    left = results.read_results(tmp_path)
    assert (left.status, left.steps) == ("failed", STEP)
    assert left.error == f"NonFiniteLossError: {raised.value}"
    kept = torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)
    assert kept["global_step"] in (2, 4)
    assert all(tensor.isfinite().all() for tensor in kept["state_dict"].values() if isinstance(tensor, torch.Tensor))


def test_a_loss_that_overflows_by_itself_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamese_lab.losses.triplet.TripletLoss.terms", lambda self, excess_TM: excess_TM * torch.inf)
    with pytest.raises(NonFiniteLossError, match=r"step 1 is (nan|inf|-inf): all its embeddings are finite"):
        quick_run(tmp_path)
