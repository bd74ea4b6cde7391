"""Runs side by side never have more threads than the machine has cores, unless the user asks for it."""

import pytest
from hydra import compose, initialize_config_dir

from siamese_lab.config import schema


def jobs_and_threads(cores: int, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, int]:
    """Return the runs at once and the threads of each, as a sweep with launcher=joblib would use them."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs pip install -e .[launchers]")
    monkeypatch.setattr(schema.os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    schema.register_schema()
    with initialize_config_dir(str(schema.config_folder()), version_base="1.3"):
        config = compose("train", overrides=["launcher=joblib", *options], return_hydra_config=True)
        return config.hydra.launcher.n_jobs, config.threads


@pytest.mark.parametrize("cores", [1, 2, 3, 8])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_jobs_times_threads_are_at_most_the_cores(cores: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, each = jobs_and_threads(cores, monkeypatch, f"threads={threads}")
    assert each == threads
    assert jobs == 1 if threads > cores else jobs * threads <= cores < (jobs + 1) * threads


def test_by_default_each_core_has_one_run_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert jobs_and_threads(6, monkeypatch) == (6, 1)
