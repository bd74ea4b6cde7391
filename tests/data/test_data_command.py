"""`python -m siamese_lab.data` prepares sets, prints their sizes, and ends with one clear message on a mistake."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from siamese_lab.data import __main__ as command
from siamese_lab.data import registry
from siamese_lab.data.sets.digits import Digits


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command in this process, in an empty folder. Return its status, output and errors."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("SIAMESE_LAB_DATA", raising=False)
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(sys, "argv", ["siamese_lab.data", *arguments])
        with pytest.raises(SystemExit) as ended:
            command.main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def test_the_command_prints_the_sizes_of_a_set(run):
    status, out, err = run("digits")
    assert (status, err) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert rows == [
        ["train", "869", "6", "142–147"],
        ["validation", "214", "6", "35–36"],
        ["test", "714", "4", "174–181"],
    ]
    assert out.startswith("digits, in ") and out.endswith("from      scikit-learn\n")


def test_options_are_those_of_training(run, monkeypatch):
    built = []
    monkeypatch.setattr(Digits, "load", lambda self: built.append(self.image_size) or load(self))
    assert run("digits", "data.image_size=24")[0] == 0
    assert built == [24]


load = Digits.load


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digts"], "Error: There is no data 'digts'. Did you mean 'digits'? Available: cars196, "),
        (["lfw", "data.imge_size=3"], "Error: There is no option 'data.imge_size'. Did you mean 'data.image_size'? "),
        (["lfw", "data.crop=half"], "Error: data.crop must be a whole number, like 100, but is 'half'."),
        (["lfw", "data.view=2"], "Error: View 2 of LFW has ten folds: data.fold must be 0…9, but is None."),
        (
            ["mnist", "paths.data=absent"],
            "Error: paths.data (or SIAMESE_LAB_DATA) is absent, but there is no such folder.",
        ),
    ],
)
def test_a_mistake_is_one_message(run, arguments, message):
    status, _, err = run(*arguments)
    assert status == 2
    assert err.startswith(message) and err.count("\n") == 1


def test_one_set_that_fails_does_not_stop_the_others(run):
    status, out, err = run("mnist", "digits", "paths.data=absent")
    assert status == 2
    assert err.count("Error: ") == 1 and out.startswith("digits, in ")


def test_without_a_name(run):
    status, _, err = run("data.image_size=3")
    assert status == 2
    assert "error: name at least one of cars196, " in err


@pytest.mark.slow
def test_all_means_every_set_except_image_folder(run):
    status, out, _ = run("all", "digits", "--verify", "paths.data=absent", "paths.cache=cache")
    assert status == 1, "--verify reports the absent copies as faults"
    assert "digits: no faults found." in out
    assert out.count("digits: ") == 1, "a set that is named twice is prepared once"
    assert re.search(r"image_folder: left out.*data\.root=FOLDER", out)


@pytest.mark.slow
def test_show_draws_into_the_folder_of_the_set(run, tmp_path):
    status, out, _ = run("digits", "--show", "paths.outputs=elsewhere")
    assert status == 0
    shown = [line.split()[1] for line in out.splitlines() if line.startswith("sheet")]
    assert [Path(each).name for each in shown] == ["classes.png", "class_sizes.png", "batch.png"]
    assert all((tmp_path / each).is_file() and each.startswith("elsewhere/data/digits/") for each in shown)


def test_verify_prepares_nothing_and_names_every_fault(run, tmp_path):
    (tmp_path / "root/MNIST/raw").mkdir(parents=True)
    (tmp_path / "root/MNIST/raw/train-labels-idx1-ubyte.gz").write_bytes(b"<html>")
    status, out, _ = run("mnist", "--verify", "digits", "paths.data=root", "paths.cache=cache")
    assert status == 1
    lines = out.splitlines()
    assert len(lines) == 5
    assert lines[0] == "mnist: MNIST/raw/train-images-idx3-ubyte.gz is neither in paths.data (root) nor downloaded yet."
    assert lines[1].startswith("mnist: root/MNIST/raw/train-labels-idx1-ubyte.gz cannot be read (")
    assert lines[4] == "digits: no faults found."
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_verify_agrees_with_the_real_copies(run, real_root, real_cache):
    """A README verifies LFW; the closed protocol of a set has the same files."""
    names = ("fashion_mnist", "mnist", "omniglot")
    status, out, _ = run(*names, "--verify", f"paths.data={real_root}", f"paths.cache={real_cache}")
    assert status == 0
    assert out.splitlines() == [f"{name}: no faults found." for name in names]


@pytest.mark.slow
def test_the_command_is_found_and_is_no_data_set():
    """Python warns if importing a package already imports its `__main__`, because the command then runs it again."""
    ended = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", "siamese_lab.data", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "one of cars196, cub200, digits, fashion_mnist, " in " ".join(ended.stdout.split())
    assert all(Path(sys.modules[cls.__module__].__file__).stem != "__main__" for cls in registry.classes.values())
