"""The checkpoints of a run: the best weights, the last weights, and the configuration that both store."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from torch import Tensor

from siamese_lab.runs.checkpoints import CONFIG_FORMAT, CONFIG_KEY, VERSION_KEY
from siamese_lab.runs.classes import ClassParts
from siamese_lab.runs.plain_values import wrong


class BestCheckpoint(ModelCheckpoint):
    """Keeps the weights with the highest validation metric in best.ckpt.

    Of several equally good weights it keeps the latest: when validation saturates, longer training is preferred.

    Args:
        folder: the folder of the checkpoints.
        monitor: the metric to maximize.
    """

    def __init__(self, folder: Path, monitor: str) -> None:
        super().__init__(folder, "best", monitor, mode="max", enable_version_counter=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore which weights validated best. Paths are those of this run, wherever the checkpoint comes from.

        Lightning would forget their score after a move, and replace a file in the folder that the checkpoint names.

        Raises:
            WrongValueError: if a score is no number.
        """
        for name in ("best_model_score", "kth_value", "current_score"):
            score = state_dict.get(name)
            if score is not None and (not isinstance(score, Tensor) or score.ndim):  # infinite if the metric was NaN
                raise wrong(name, score, "a number in a tensor")
        mine, score = str(self.dirpath), state_dict["best_model_score"]
        best = str(Path(mine) / f"best{self.FILE_EXTENSION}")
        known = Path(best).is_file() and score is not None
        paths = {
            "dirpath": mine,
            "best_model_path": best if known else "",
            "kth_best_model_path": best if known else "",
        }
        models = {"best_k_models": {best: score} if known else {}, "last_model_path": ""}
        super().load_state_dict({**state_dict, "best_model_score": score if known else None, **paths, **models})

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Return True if the new weights are better than the best ones, or equally good."""
        equal = current is not None and self.best_model_score is not None and bool(current == self.best_model_score)
        # super() waits for all processes, so all processes have to agree on whether to call it.
        return trainer.strategy.reduce_boolean_decision(equal) or super().check_monitor_top_k(trainer, current)


class LastCheckpoint(Checkpoint):
    """Replaces last.ckpt at every validation, so that a killed run loses only the steps after its last validation.

    The file is replaced atomically. Lightning calls every `Checkpoint` after all other callbacks, in list order, so
    list this one after `BestCheckpoint`.

    Args:
        path: path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._step: int | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint, if the validation belongs to training."""
        if trainer.state.fn == "fit":
            self._save(trainer)

    def save_end(self, trainer: Trainer) -> None:
        """Write the checkpoint after training, unless the last step was validated and so is stored already.

        A run that is resumed from a checkpoint of a validation goes on exactly. From a checkpoint of the same step that
        is written after training, Lightning would count one step too many for the loggers.
        """
        if self._step != trainer.global_step:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._step = trainer.global_step


class StoredConfig(Callback):
    """Stores the command line, the composed configuration and the classes of the run in every checkpoint.

    They are all that `resume=PATH` and `siamese_lab.evaluate` need to rebuild the run and its parts.

    Args:
        overrides: the overrides of the command line, such as ["sampler=hard", "seed=1"].
        config_values: the whole configuration, as plain values.
        classes: the classes of each part; None stores none.
        changes: the options that resumes of the run have changed, see `Results.changed_options`.
    """

    def __init__(
        self,
        overrides: Sequence[str],
        config_values: Mapping[str, Any],
        classes: ClassParts | None = None,
        changes: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.overrides = list(overrides)
        self.config_values = dict(config_values)
        self.classes = None if classes is None else classes.as_text()
        self.changes = [dict(change) for change in changes]

    @property
    def state_key(self) -> str:
        """Return the key of this state among the callbacks of a checkpoint."""
        return CONFIG_KEY

    def state_dict(self) -> dict[str, Any]:
        """Return the stored configuration, which Lightning writes into the checkpoint."""
        return {
            "format": CONFIG_FORMAT,
            VERSION_KEY: metadata.version("siamese_lab"),
            "overrides": self.overrides,
            "choices": self.config_values,
            "classes": self.classes,
            "changes": self.changes,
        }
