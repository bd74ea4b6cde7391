"""A link inside a folder never leads a command to write outside of the folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended

from siamese_lab import export, report
from siamese_lab.errors import UserError
from siamese_lab.runs.links import check_inside, check_no_way_out

pytestmark = pytest.mark.slow

REFUSED = "is a link to .*, outside of .*, and would be written to. Delete the link, or replace it"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a folder with a file of the user that has a name which the lab writes."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("last.ckpt", "recall_at_1.csv", "recall_at_1.md", "recall_at_1.tex"):
        (folder / name).write_text("mine")
    return folder


def assert_refused(ended: Ended, elsewhere: Path) -> None:
    message = ended.err.replace("\n", " ")
    assert ended.status == 2
    assert "would be written to" in message and "Traceback" not in message
    assert {path.read_text() for path in elsewhere.iterdir()} == {"mine"}


@pytest.mark.parametrize("name", ["tables", "figures"])
def test_a_report_refuses_a_linked_folder(
    name: str, call: Callable[..., Ended], own_run: Path, elsewhere: Path
) -> None:
    (own_run / name).symlink_to(elsewhere)
    assert_refused(call(report, own_run), elsewhere)


def test_an_evaluation_refuses_a_linked_folder(evaluate: Callable[..., Ended], own_run: Path, elsewhere: Path) -> None:
    (own_run / "evaluations").symlink_to(elsewhere)
    assert_refused(evaluate(f"checkpoint={own_run}", "map=null"), elsewhere)


def test_an_export_refuses_a_linked_folder(call: Callable[..., Ended], own_run: Path, elsewhere: Path) -> None:
    (own_run / "exported").symlink_to(elsewhere)
    assert_refused(call(export, f"checkpoint={own_run}", "format=torch"), elsewhere)


def test_a_resumed_run_refuses_links_that_lead_out(
    command: Callable[..., Ended], own_run: Path, elsewhere: Path
) -> None:
    (own_run / "more").symlink_to(elsewhere)
    assert_refused(command(f"resume='{own_run}'", "trainer.max_steps=8"), elsewhere)


def test_the_folder_itself_may_be_a_link_and_links_may_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "disk/run/checkpoints").mkdir(parents=True)
    run = tmp_path / "run"
    run.symlink_to(tmp_path / "disk/run")
    (run / "latest").symlink_to("checkpoints")
    check_no_way_out(run)
    check_inside(run, ("checkpoints", "absent"))
    (run / "out").symlink_to(tmp_path)
    with pytest.raises(UserError, match=REFUSED):
        check_no_way_out(run)


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").symlink_to(tmp_path / "results.json")
    with pytest.raises(UserError, match=r"results.json is a link that leads back to itself\. Delete the link\."):
        check_inside(tmp_path, ("results.json",))
