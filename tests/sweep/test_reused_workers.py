"""The worker processes of a parallel sweep are reused, so that they import PyTorch once and not once for each run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROCESS = """
import os
from lightning import Callback


class NoteProcess(Callback):
    def setup(self, *_, **__):
        with open(os.environ["NOTED"], "a") as noted:
            noted.write(f"{os.getpid()}\\n")
"""
GROUP = "note:\n  _target_: note_process.NoteProcess\n"


@pytest.mark.slow
@pytest.mark.nightly
def test_runs_of_any_size_share_the_workers_of_a_parallel_sweep(tmp_path: Path) -> None:
    """joblib replaces a worker that grows by 300 MB after its first run, as here with the second image size."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs pip install -e .[launchers]")
    (tmp_path / "note_process.py").write_text(PROCESS)
    (tmp_path / "conf/callbacks").mkdir(parents=True)
    (tmp_path / "conf/callbacks/note.yaml").write_text(GROUP)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "siamese_lab.train", "-m", "data=digits", "data.image_size=16,72,17", "seed=0,1"),
            *("trainer.max_steps=1", "trainer.precision=32-true", "metrics.floors=false", "logger=null"),
            *("launcher=joblib", "hydra.launcher.n_jobs=2", "--config-dir", "conf", "callbacks=note"),
        ],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "NOTED": str(tmp_path / "noted"), "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=400,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    processes = (tmp_path / "noted").read_text().split()
    assert len(processes) == 6 * 2, "each run trains and tests"
    assert len(set(processes)) <= 2, f"6 runs took the processes {sorted(set(processes))}"
