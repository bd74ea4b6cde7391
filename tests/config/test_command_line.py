"""A command line accepts flags anywhere, groups set to null, options of the Trainer, completion and Ctrl-C."""

import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import FEW_STEPS, QUICK, Ended, compose, quick_run
from project import pyproject

from siamese_lab import __main__ as lab
from siamese_lab.config.arguments import split_flags, train_overrides
from siamese_lab.errors import UserError
from siamese_lab.runs import display, results

ROOT = Path(__file__).parents[2]


def run(*arguments: str, at: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(arguments, cwd=at, env=environment, text=True, capture_output=True, timeout=timeout)


# --- python -m siamese_lab


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    version = pyproject()["project"]["version"]
    monkeypatch.setattr(sys, "argv", ["siamese-lab", "--version"])
    lab.main()
    assert capsys.readouterr().out.startswith(f"siamese_lab {version}")


def test_an_unknown_command_is_one_message(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["siamese-lab", "trian"])
    with pytest.raises(SystemExit) as ended:
        lab.main()
    assert ended.value.code == 2
    assert "no command 'trian'. Did you mean 'train'?" in capsys.readouterr().err


def test_every_command_is_an_entry_point() -> None:
    scripts = pyproject()["project"]["scripts"]
    assert scripts.pop("siamese-lab") == "siamese_lab.__main__:main"
    assert scripts == {f"siamese-lab-{name}": f"siamese_lab.__main__:{name}" for name in lab.COMMANDS}
    for target in scripts.values():
        assert callable(getattr(lab, target.split(":")[1]))


@pytest.mark.slow
def test_a_command_starts_by_its_name(tmp_path: Path) -> None:
    ended = run(sys.executable, "-m", "siamese_lab", "train", *QUICK, at=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert len(list(tmp_path.rglob("results.json"))) == 1
    assert run(sys.executable, "-m", "siamese_lab", "report", "nowhere", at=tmp_path).returncode == 2


# --- flags


@pytest.mark.parametrize(
    ("given", "flags", "overrides"),
    [
        (["a=1", "--config-dir", "X", "b=2"], ["--config-dir", "X"], ["a=1", "b=2"]),
        (["a=1", "-cd", "X", "b=2", "-m"], ["-cd", "X", "-m"], ["a=1", "b=2"]),
        (["a=1", "--config-dir=X", "b=2"], ["--config-dir=X"], ["a=1", "b=2"]),
        (["a=1", "--config-d", "X", "b=2"], ["--config-d", "X"], ["a=1", "b=2"]),
        (["a=1", "--cfg", "job", "--resolve", "b=2"], ["--cfg", "job", "--resolve"], ["a=1", "b=2"]),
        (["a=1", "--info", "b=2"], ["--info"], ["a=1", "b=2"]),
        (["a=1", "--info", "plugins", "b=-2"], ["--info", "plugins"], ["a=1", "b=-2"]),
    ],
)
def test_flags_go_first_with_their_values(given: list[str], flags: list[str], overrides: list[str]) -> None:
    assert split_flags(given) == (flags, overrides)


def test_flags_may_stand_anywhere(command: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "mine/sampler").mkdir(parents=True)
    (tmp_path / "mine/sampler/narrow.yaml").write_text("name: semi_hard\nmargin: 0.05\n")
    ended = command("seed=3", "--config-dir", "mine", "sampler=narrow", "--cfg", "job", "ema=0.9")
    assert ended.status == 0, ended.err
    assert all(shown in ended.out for shown in ("seed: 3", "margin: 0.05", "ema: 0.9"))


# --- groups without a part


@pytest.mark.parametrize("group", ["logger", "callbacks", "budget", "tuning", "recipe", "experiment", "launcher"])
def test_an_optional_group_may_be_null(group: str) -> None:
    chosen = compose(f"{group}=null").get(group)
    assert chosen is None or chosen["name"] == "none"


def test_a_sweep_may_include_null() -> None:
    assert train_overrides(["callbacks=null,early_stopping"]) == ["callbacks=[],early_stopping"]


@pytest.mark.slow
def test_a_run_without_a_logger_writes_no_curves_and_names_none(command: Callable[..., Ended], tmp_path: Path) -> None:
    ended = command(*QUICK, "logger=null")
    assert ended.status == 0, ended.err
    assert "Curves" not in ended.out
    assert not list(tmp_path.rglob("events.out*")) and not list(tmp_path.rglob("metrics.csv"))


def test_a_group_that_a_run_needs_is_not_null(command: Callable[..., Ended]) -> None:
    ended = command("sampler=null")
    assert ended.status == 2
    assert "sampler=null" in ended.err and "Names: all, batch_hard" in ended.err


# --- options of Lightning's Trainer


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.limit_val_batchs=3", "'trainer.limit_val_batchs'.*Did you mean 'limit_val_batches'"),
        ("+trainer.foo=1", r"'trainer\.foo'.*fast_dev_run"),
        ("trainer.callbacks=x", r"callbacks=NAME"),
        ("trainer.logger=false", r"logger=null"),
        ("trainer.limit_val_batches=0", "above 0"),
        ("trainer.limit_val_batches=few", "must be a whole number or a number, but is 'few'"),
        ("trainer.fast_dev_run=maybe", "true or false or a whole number, but is 'maybe'"),
        ("trainer.max_time=1", "but is 1"),
    ],
)
@pytest.mark.slow
def test_a_mistake_in_an_option_of_the_trainer_is_one_message(
    override: str, message: str, command: Callable[..., Ended], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        compose(override)
    ended = command(override)
    assert ended.status == 2 and ended.err.count("Error: ") == 1 and "Traceback" not in ended.err
    assert not list(tmp_path.rglob("results.json"))


@pytest.mark.slow
def test_options_of_the_trainer_reach_it(tmp_path: Path) -> None:
    small = ("network.width=8", "metrics.floors=false")
    run = quick_run(tmp_path / "dev", "trainer.fast_dev_run=2", *small)
    assert (run.status, run.steps, run.choices["trainer"]["fast_dev_run"]) == ("shortened", 2, 2)
    limited = quick_run(tmp_path / "limited", "trainer.limit_val_batches=1", "data.eval_batch_size=100", *small)
    whole = quick_run(tmp_path / "whole", "data.eval_batch_size=100", *small)
    assert limited.validation != whole.validation and limited.test == whole.test


@pytest.mark.slow
def test_batch_norms_of_several_processes_are_always_synchronized(tmp_path: Path) -> None:
    assert quick_run(tmp_path / "one", "trainer.sync_batchnorm=true").status == "finished"
    with pytest.raises(UserError, match=r"sync_batchnorm=false.*trainer\.devices=1"):
        quick_run(tmp_path / "two", "trainer.sync_batchnorm=false", "trainer.devices=2")


# --- completion


def complete(line: str, folder: Path) -> list[str]:
    """Return the completions that bash finds for the last word of a line."""
    program = folder / "siamese-lab-train"
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom siamese_lab.__main__ import train\nsys.exit(train())\n")
    program.chmod(0o755)
    script = f"""
        export PATH={shlex.quote(str(folder))}:$PATH
        eval "$(siamese-lab-train --shell-completion install=bash)"
        COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=($COMP_LINE)
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        hydra_bash_completion
        printf '%s\\n' "${{COMPREPLY[@]}}"
        complete -p siamese-lab-train
    """
    ended = run("bash", "-c", script, at=folder)
    assert ended.returncode == 0, ended.stderr
    *found, installed = ended.stdout.split("\n")[:-1]
    assert "hydra_bash_completion siamese-lab-train" in installed
    return [each for each in found if each]


@pytest.mark.slow
def test_bash_completes_groups_names_and_options(tmp_path: Path) -> None:
    assert complete("siamese-lab-train sampler=dist", tmp_path) == ["sampler=distance_weighted"]
    assert set(complete("siamese-lab-train seed=1 trainer.max_", tmp_path)) == {
        "trainer.max_steps=",
        "trainer.max_epochs=",
    }


@pytest.mark.slow
def test_completion_does_not_import_pytorch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['siamese-lab-train', '-sc', 'query=bash']\n"
        "from siamese_lab.__main__ import train; train()\n"
        "assert 'torch' not in sys.modules"
    )
    environment = os.environ | {"COMP_LINE": "siamese-lab-train data=omni", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, cwd=tmp_path)
    assert (ended.returncode, ended.stdout.split()) == (0, ["data=omniglot"]), ended.stderr


# --- Ctrl-C


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", ["siamese_lab.training.run.build_datamodule", "siamese_lab.training.placement.find_placement"]
)
def test_ctrl_c_before_training_is_one_line(
    place: str, command: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    ended = command(*QUICK)
    assert (ended.status, ended.err) == (130, "Interrupted.\n")


SWALLOWED = """
import os, signal, time, weakref
class Referred: pass
referred = Referred()
def interrupt(_): os.kill(os.getpid(), signal.SIGINT); time.sleep(0.1)
reference = weakref.ref(referred, interrupt)  # Python ignores exceptions of such a callback
del referred
time.sleep(60)
"""
DIRECT = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"


@pytest.mark.slow
@pytest.mark.parametrize("source", [DIRECT, SWALLOWED], ids=["direct", "swallowed"])
def test_ctrl_c_during_imports_is_one_line(source: str, tmp_path: Path) -> None:
    (tmp_path / "imported_slowly.py").write_text(source, encoding="utf-8")
    code = (
        "import sys\n"
        "from siamese_lab import __main__ as lab\n"
        "lab.COMMANDS = {'train': lab.Command('imported_slowly', '')}\n"
        "sys.exit(lab.start('train', []))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")


def run_code(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in a new process, in a folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


INTERRUPTS_AN_IMPORT = """
import os, signal, sys, time
class Finder:
    def find_spec(self, name, *_):
        if name == "torch":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
sys.meta_path.insert(0, Finder())
from siamese_lab.__main__ import start
sys.exit(start("train", ["data=digits"]))
"""


@pytest.mark.slow
def test_ctrl_c_while_a_job_loads_pytorch_is_one_line(tmp_path: Path) -> None:
    ended = run_code(INTERRUPTS_AN_IMPORT, tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")


# --- Start without PyTorch

ANSWERS = """
import sys
from siamese_lab.__main__ import COMMANDS, start
for name, *arguments in {commands}:
    try:
        start(name, arguments)
    except SystemExit as ended:
        print("status", ended.code or 0)
heavy = {{"torch", "lightning", "torchvision", "pandas", "matplotlib", "sklearn", "scipy"}}
print("loaded", *sorted(heavy & sys.modules.keys()))
"""


@pytest.mark.slow
def test_help_and_wrong_options_load_neither_pytorch_nor_other_large_packages(tmp_path: Path) -> None:
    helps = [[name, "--help"] for name in lab.COMMANDS]
    wrong = [
        ["train", "sampler=semihard"],
        ["train", "data.no_such=1"],
        ["embed", "x=1"],
        ["train", "trainer.max_stepss=3"],
        ["train", "seed=-1=2"],
        ["train", "seed=-1"],
        ["train", "trainer.max_steps=many"],
        ["train", "loss.margin=wide"],
        ["train", "-m", "trainer.max_steps=-5", "sampler=hard"],
    ]
    ended = run_code(ANSWERS.format(commands=[*helps, ["train", "--cfg", "job"], *wrong]), tmp_path)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert [line for line in lines if line == "status 2"] == ["status 2"] * len(wrong), ended.stderr
    assert lines[-1] == "loaded"
    assert ended.stdout.count("Examples:") == len(lab.COMMANDS)


# --- folders and summaries


@pytest.mark.slow
def test_two_protocols_of_one_set_have_separate_folders_and_names(
    command: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = command("-m", "data=mnist,mnist_closed", "paths.data=absent", *FEW_STEPS)
    assert ended.status == 2
    folders = sorted(path.parent.name for path in tmp_path.rglob("results.json"))
    assert folders == ["0_mnist_semi_hard_seed=0", "1_mnist_closed_semi_hard_seed=0"]
    run = results.read_results(next(tmp_path.rglob("results.json")).parent)
    run.data_set = {"protocol": "closed"}
    assert display.data_name(run) == "mnist (closed)"


@pytest.mark.slow
def test_a_sweep_ends_with_a_table_of_its_runs(command: Callable[..., Ended], tmp_path: Path) -> None:
    ended = command("-m", "loss.margin=0.2,-1", "seed=0,1", *QUICK, "network.width=8", "metrics.floors=false")
    assert ended.status == 2
    assert ended.err.count("margin above 0, but it is -1") == 2
    assert "Error executing job" not in ended.err and "Traceback" not in ended.err
    summary = ended.out.split("4 runs in outputs/sweeps/")[1]
    stored = {path.parent.name: results.read_results(path.parent) for path in tmp_path.rglob("results.json")}
    assert sorted(run.status for run in stored.values()) == ["failed", "failed", "finished", "finished"]
    for name, run in stored.items():
        line, below = next(pair for pair in itertools.pairwise(summary.splitlines()) if name in pair[0].split())
        figure = f"{run.test['recall@1']:.1%}" if run.status == "finished" else "failed"
        assert figure in line and below.split() == [f"loss.margin={run.choices['loss']['margin']}"]
    assert "2 runs did not finish" in summary


@pytest.mark.slow
def test_a_bug_in_a_sweep_keeps_its_traceback_and_the_summary_comes(
    command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siamese_lab.training.run.build_module", lambda *_: int("x"))
    ended = command("-m", "seed=0,1", *QUICK)
    assert ended.status == 1
    assert ended.err.count("Traceback (most recent call last)") == 2
    assert "2 runs in outputs/sweeps/" in ended.out


@pytest.mark.slow
def test_mistakes_end_a_plain_sweep_before_it_starts(command: Callable[..., Ended], tmp_path: Path) -> None:
    for overrides in (["sampler=hard,hrad"], ["seed=0,1", "+foo=1"], ["trainer.max_steps=2,many"]):
        ended = command("-m", *QUICK, *overrides)
        assert ended.status == 2 and ended.err.count("Error: ") == 1
        assert "Error executing job" not in ended.err
        assert not list(tmp_path.rglob("results.json"))
