"""Commands that start within one second get different folders."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Ended
from omegaconf import OmegaConf

from siamese_lab.config.new_folder import create, new_folder
from siamese_lab.errors import ResourceError


def test_each_of_many_callers_gets_its_own_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(new_folder, [tmp_path / "runs" / "12-00-00"] * 40))
    assert len(set(folders)) == 40
    assert {"12-00-00", "12-00-00_2", "12-00-00_40"} <= {folder.name for folder in folders}


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_only_a_folder_named_after_the_time_gets_another_name(kind: str, tmp_path: Path) -> None:
    OmegaConf.register_new_resolver("now", lambda pattern: "12-00-00", replace=True)
    named = f"{tmp_path}/${{now:%H-%M-%S}}"
    for expected in (f"{tmp_path}/12-00-00", f"{tmp_path}/12-00-00_2"):
        config = OmegaConf.create({"hydra": {kind: {"dir": named}, "overrides": {"hydra": []}}})
        create(config, kind)
        assert config.hydra[kind].dir == expected
        assert list(config.hydra.overrides.hydra) == ([f"hydra.sweep.dir='{expected}'"] if kind == "sweep" else [])
    config = OmegaConf.create({"hydra": {kind: {"dir": str(tmp_path)}, "overrides": {"hydra": []}}})
    create(config, kind)
    assert config.hydra[kind].dir == str(tmp_path)


def test_a_folder_that_cannot_be_created_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"file/runs/x cannot be written .*paths\.outputs"):
        new_folder(tmp_path / "file" / "runs" / "x")


@pytest.mark.parametrize("arguments", [(), ("-m", "sampler=hard,random"), ("-m", "experiment=study", "seed=0")])
def test_outputs_that_cannot_be_written_end_before_training(
    arguments: tuple[str, ...], command: Callable[..., Ended]
) -> None:
    ended = command("data=digits", "paths.outputs=/proc/outputs", *arguments)
    assert ended.status == 2
    assert "/proc/outputs" in ended.err and "paths.outputs" in ended.err and "Traceback" not in ended.err
    assert "step" not in ended.out
