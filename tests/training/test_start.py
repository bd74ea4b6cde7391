"""A run reaches its first step soon: it imports no package that training does not need."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLBACK = """
import os
import sys
import time
from lightning import Callback


class StopAtFirstStep(Callback):
    def on_train_batch_start(self, *_):
        unwanted = ("sklearn", "pandas", "pytorch_metric_learning", "wandb", "mlflow", "timm")
        loaded = [name for name in unwanted if name in sys.modules]
        print("\\nseconds", time.process_time(), *loaded, flush=True)
        os._exit(0)
"""
GROUP = "stop:\n  _target_: stop_at_first_step.StopAtFirstStep\n"
IMPORTS = "import time, torch, lightning; print('seconds', time.process_time())"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a callback that ends the process at the first step."""
    (tmp_path / "stop_at_first_step.py").write_text(CALLBACK)
    (tmp_path / "conf/callbacks").mkdir(parents=True)
    (tmp_path / "conf/callbacks/stop.yaml").write_text(GROUP)
    return tmp_path


def last_words(folder: Path, *arguments: str) -> list[str]:
    """Run Python, and return the words after "seconds" in the last line of its output."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    ended = subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, timeout=300, check=True
    )
    word, *rest = ended.stdout.splitlines()[-1].split()
    assert word == "seconds", ended.stdout
    return rest


TRAIN = ("-m", "siamese_lab.train", "data=digits", "--config-dir", "conf", "callbacks=stop")


@pytest.mark.slow
def test_the_first_step_needs_no_optional_package_nor_scikit_learn_nor_pandas(folder: Path) -> None:
    assert len(last_words(folder, *TRAIN)) == 1


@pytest.mark.benchmark
def test_the_first_step_comes_within_1_3_times_the_time_of_importing_torch_and_lightning(folder: Path) -> None:
    """Processor time, in turns. The digits are small, so that the preparation of images takes no time."""
    rounds = [(float(last_words(folder, *TRAIN)[0]), float(last_words(folder, "-c", IMPORTS)[0])) for _ in range(3)]
    started, imported = map(statistics.median, zip(*rounds, strict=True))
    assert started < 1.3 * imported, rounds
