"""`python -m siamese_lab.report` writes and shows a whole study on one page that needs no other file."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from PIL import Image
from synthetic import run, study, written

from siamese_lab import report
from siamese_lab.study import report as study_report

pytestmark = pytest.mark.slow


@pytest.fixture
def reported(monkeypatch, capsys):
    def reported(*arguments):
        monkeypatch.setattr(sys, "argv", ["siamese_lab.report", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "100")
        try:
            report.main()
            status = 0
        except SystemExit as ended:
            status = ended.code
        return status, capsys.readouterr()

    return reported


class Page(HTMLParser):
    """Collects the references, the unclosed tags and the text of a page."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.references, self.tags, self.open, self.said = [], set(), [], []
        self.classes, self.places = [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]
        self.places.append((tag, " ".join(self.classes)))
        if tag not in self.VOID:
            self.open.append(tag)
            self.classes.append(dict(attributes).get("class") or "")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.classes.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.said.append(data)


def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a study and its report, made once."""
    from rich.console import Console

    folder = study(tmp_path_factory.mktemp("studies") / "whole", data=("omniglot", "lfw"))
    study_report.report(folder, Console(quiet=True))
    return folder


FIGURES = (
    *("recall1_comparison", "all_pairs", "critical_difference", "active_share_by_step", "distances"),
    *("recall1_by_step", "recall1_by_triplets", "loss_by_step"),
)


def test_tables_figures_and_the_page_are_written_into_the_folder(whole):
    assert (whole / "tables/recall_at_1.md").is_file()
    assert {place.name for place in (whole / "figures").iterdir()} == {
        f"{name}.{form}" for name in FIGURES for form in ("png", "svg")
    }
    for name in FIGURES:
        with Image.open(whole / f"figures/{name}.png") as picture:
            assert picture.width > 500 and len(set(picture.convert("L").resize((60, 60)).tobytes())) > 5, name


def test_the_script_of_the_page_is_the_only_one_and_only_copies(whole):
    text = (whole / "report.html").read_text(encoding="utf-8")
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    assert text.count("<script") == 1 and "clipboard.writeText" in script
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|src", script)


def test_the_page_needs_no_other_file(whole):
    found = page(whole)
    assert found.open == []
    assert not found.tags & {"link", "iframe", "object", "embed"}
    assert len(found.references) == len(FIGURES)
    assert all(reference.startswith("data:image/svg+xml;base64,") for reference in found.references)
    text = (whole / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?://", text)


def test_no_table_and_no_figure_widens_the_page(whole):
    """Wide elements scroll within their own box, and text breaks anywhere."""
    shown = page(whole)
    wide = [above for tag, above in shown.places if tag in ("table", "img")]
    assert len(wide) > 10 and all("scroll" in above for above in wide)
    text = (whole / "report.html").read_text(encoding="utf-8")
    assert re.search(r"^\.scroll \{ overflow-x: auto", text, re.MULTILINE)
    (breaking,) = re.findall(r"^(.*) \{ overflow-wrap: anywhere; \}$", text, re.MULTILINE)
    assert {"h1", "p", "li", "figcaption"} <= set(breaking.split(", "))


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [420, 1400])
def test_a_browser_shows_the_page_without_scrolling_sideways(width, tmp_path, reported):
    """The page is shown in a frame, because the window of a headless Chromium has a minimum width."""
    folder = tmp_path / ("a_name_of_a_study_without_spaces_" * 3)
    study(folder, data=("omniglot", "lfw"), seeds=2)
    failed = run("digits", status="failed", error=f"ValueError: /{'a_long_path/' * 20}")
    assert reported(written(folder, failed))[0] == 0
    text = (folder / "report.html").read_text(encoding="utf-8")
    measure = (
        "<script>onload = () => parent.document.title ="
        " document.documentElement.scrollWidth - document.documentElement.clientWidth</script></body>"
    )
    (folder / "framed.html").write_text(text.replace("</body>", measure), encoding="utf-8")
    (folder / "frame.html").write_text(f"<title></title><iframe src=framed.html width={width} height=900></iframe>")
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--virtual-time-budget=9000",
    )
    browser = ["chromium", *options, "--dump-dom", (folder / "frame.html").as_uri()]
    dom = subprocess.run(browser, capture_output=True, text=True, timeout=120).stdout
    assert re.findall("<title>(.*?)</title>", dom) == ["0"]


def test_the_page_has_all_parts_of_the_report(whole):
    said = page(whole).text
    for part in (
        "How does the sample selection strategy affect",
        "distance_weighted (",
        "Status of every cell",
        "Test Recall@1, in percent",
        "difference from random sampling in points",
        "All pairs of strategies",
        "(12 rows)",
        "Hypotheses",
        "Distance-weighted sampling is at least as good as semi-hard sampling.",
        "Average ranks over data sets",
        "Thousands of triplets to reach a validation Recall@1",
        "Seconds are left out",
        "Machines and core-hours",
        "Methods (LaTeX)",
        "@inproceedings{wu2017sampling,",
        "Test MAP@R, in percent",
        "trainer.max_steps 1000 1000",
        "sampler.num_negatives=1",
        "a" * 40,
        "torch 2.14.1 24",
        "A processor, bf16-mixed, cores 2, threads 1 24",
        "A processor bf16-mixed 1 24",
        "All jobs have finished.",
        "Holm's correction",
    ):
        assert part in said, part
    assert "Caveats" not in said


def test_the_same_runs_give_the_same_report_to_the_byte(whole, tmp_path, reported):
    for place in whole.rglob("results.json"):
        copied = tmp_path / "whole" / place.relative_to(whole)
        copied.parent.mkdir(parents=True)
        shutil.copy(place, copied)
    reported(tmp_path / "whole")
    for name in ("report.html", "tables/recall_at_1.tex", "figures/recall1_comparison.svg"):
        assert (tmp_path / "whole" / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_terminal_shows_the_headline_and_the_path_of_the_page(tmp_path, reported):
    status, said = reported(study(tmp_path, data=("omniglot",), strategies=("random", "hard")))
    assert status == 0
    (row,) = (line for line in said.out.splitlines() if line.startswith("│ Omniglot"))
    assert len(re.findall(r"\d\d\.\d ± \d\.\d", row)) == 2
    assert "Omniglot (3 seeds): " in said.out and "Limitations: 3 seeds" in said.out
    assert f"Report: {tmp_path / 'report.html'}" in said.out.replace("\n", "")


def test_the_terminal_shows_the_summary_of_several_data_sets_and_the_page_folds_their_paragraphs(tmp_path, reported):
    status, said = reported(study(tmp_path, data=("omniglot", "lfw"), strategies=("random", "hard")))
    assert status == 0
    assert "The answer counts 2 of 2 data sets." in said.out
    assert "Omniglot (3 seeds): " not in said.out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    box = page[page.index('<div class="answer">') : page.index("</details>")]
    summary, paragraphs = box.split("<details>")
    assert "The answer counts 2 of 2 data sets." in summary
    assert "Omniglot (3 seeds): " in paragraphs and "Omniglot (3 seeds): " not in summary


def test_failed_missing_and_damaged_runs_are_on_the_page(tmp_path, reported):
    study(tmp_path, data=("omniglot",), strategies=("random", "hard"), seeds=2)
    written(tmp_path, run(seed=1, status="failed", steps=40, error="FloatingPointError: the loss is <nan> & void"))
    shutil.rmtree(tmp_path / "omniglot/hard/seed=0")
    (tmp_path / "omniglot/semi_hard/seed=0").mkdir(parents=True)
    (tmp_path / "omniglot/semi_hard/seed=0/results.json").write_text('{"schema', encoding="utf-8")
    status, said = reported(tmp_path)
    assert status == 0
    text = page(tmp_path).text
    assert "omniglot/random/seed=1 failed after 40 steps FloatingPointError: the loss is <nan> & void" in text
    assert "Omniglot, hard, seed 0 missing The job has no results.json." in text
    assert re.search(r"omniglot/semi_hard/seed=0 excluded .*is damaged", text)
    assert "Jobs without a result: 1 not finished, 1 missing, 1 excluded" in text
    assert "Note: Jobs without a result: 1 not finished, 1 missing, 1 excluded" in said.out


def test_runs_of_two_commits_give_a_caveat_and_can_be_separated(tmp_path, reported):
    written(tmp_path, *(run(seed=seed, commit="b" * 40 if seed else "a" * 40) for seed in range(3)))
    written(tmp_path, *(run(strategy="hard", seed=seed) for seed in range(3)))
    reported(tmp_path)
    text = page(tmp_path).text
    assert "The runs used 2 versions of the code" in text
    assert re.search(f"{'b' * 40} 2 omniglot/random/seed=1, omniglot/random/seed=2", text)
    status, _ = reported(tmp_path, "--commit", "aaaa")
    assert status == 0
    text = page(tmp_path).text
    assert "versions of the code" not in text
    assert "omniglot/random/seed=1 excluded Its commit is bbbb" in text


def test_one_run_alone_has_a_report(tmp_path, reported):
    status, _ = reported(written(tmp_path, run()))
    assert status == 0
    text = page(tmp_path).text
    assert "All finished runs use random, so there is nothing to compare." in text
    assert "One seed; a single seed has no interval." in text
    assert not (tmp_path / "figures/critical_difference.png").exists()


def test_runs_without_a_history_have_a_report(tmp_path, reported):
    bare = {"history": [], "seconds_of_history": []}
    status, _ = reported(written(tmp_path, run(**bare), run(strategy="hard", **bare)))
    assert status == 0
    assert {place.stem for place in (tmp_path / "figures").iterdir()} == {"recall1_comparison"}


def test_figures_of_an_earlier_report_are_removed(tmp_path, reported):
    study(tmp_path, data=("omniglot", "lfw"), strategies=("random", "hard"), seeds=2)
    reported(tmp_path)
    (tmp_path / "tables/mine.txt").write_text("kept", encoding="utf-8")
    shutil.rmtree(tmp_path / "lfw")
    reported(tmp_path)
    assert not (tmp_path / "figures/critical_difference.svg").exists()
    assert not (tmp_path / "tables/average_ranks.csv").exists()
    assert (tmp_path / "tables/mine.txt").read_text(encoding="utf-8") == "kept"


@pytest.mark.nightly
def test_strategies_of_the_user_on_five_data_sets_are_reported(tmp_path, reported):
    data = ("digits", "mnist:closed", "mnist:disjoint", "omniglot", "lfw")
    names = ("random", "hard", "semi_hard", "distance_weighted", "all", "a_strategy_with_quite_a_long_name", "x<y>&z")
    status, _ = reported(study(tmp_path, data=data, strategies=names, seeds=2))
    assert status == 0
    assert "x<y>&z" in page(tmp_path).text
    assert r"x$<$y$>$\&z" in (tmp_path / "tables/recall_at_1.tex").read_text(encoding="utf-8")


def test_a_study_with_folds_of_view_2_reports_both(tmp_path, reported):
    written(tmp_path, run(), run(strategy="hard"))
    for fold in range(10):
        each = run("lfw", test={"view_2/accuracy": 0.6 + fold / 100})
        each.choices["data"] |= {"view": 2, "fold": fold}
        each.write(written(tmp_path / f"fold={fold}", each) / "lfw/random/seed=0")
    status, said = reported(tmp_path)
    assert status == 0
    assert "64.50 ±" in said.out and (tmp_path / "folds.json").is_file()
    assert "LFW" not in page(tmp_path).text


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "holds no results.json of a run. Start runs first: python -m siamese_lab.train -m experiment=study."),
        (
            [run(status="failed", error="ValueError: no data")],
            "holds 1 run, but no finished one (the last one: ValueError: no data).",
        ),
    ],
)
def test_a_study_without_finished_runs_gives_one_message(tmp_path, reported, runs, message):
    status, said = reported(written(tmp_path, *runs))
    assert status == 2
    assert message in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


def test_only_damaged_files_give_one_message(tmp_path, reported):
    (tmp_path / "results.json").write_text("{", encoding="utf-8")
    status, said = reported(tmp_path)
    assert status == 2 and "holds no run that can be used" in said.err and "is damaged" in said.err


@pytest.mark.parametrize("level", ["90", "0", "-0.1"])
def test_a_level_outside_of_its_range_is_refused(tmp_path, reported, level):
    status, said = reported(written(tmp_path, run()), f"--levels={level}")
    assert status == 2 and f"--levels must be above 0 and at most 1, such as 0.9, but {level} was given." in said.err


def test_levels_can_be_chosen(tmp_path, reported):
    reported(study(tmp_path, data=("omniglot",), strategies=("random", "hard")), "--levels", "0.77", "0.8")
    lines = (tmp_path / "tables/seconds_to_reach.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert {line.split(",")[2] for line in lines} == {"0.77", "0.8"}


def test_hypotheses_are_evaluated_again_from_stored_runs(tmp_path, reported):
    study(tmp_path, data=("omniglot", "lfw"), noise=0.001)
    status, said = reported(tmp_path, "--hypotheses")
    assert status == 0
    lines = " ".join(said.out.split())
    assert "H3: not settled. Distance-weighted sampling is at least as good as semi-hard sampling." in lines
    assert re.search(
        r"Omniglot, supported: distance_weighted − semi_hard: \S+ \[.* … .*\], threshold −0.5, detect", lines
    )
    assert "H7: not settled" in lines and "missing hard and random: 0 of 3 levels of data.label_noise" in lines
    assert not (tmp_path / "report.html").exists()
    assert reported(tmp_path / "omniglot/random/seed=0/nothing", "--hypotheses")[0] == 2


def test_more_pairs_than_a_report_compares_give_a_caveat(tmp_path, reported, monkeypatch):
    for module in ("analysis", "conclusions"):
        monkeypatch.setattr(f"siamese_lab.study.{module}.MAX_PAIRS", 2)
    status, said = reported(study(tmp_path, data=("digits",), strategies=("random", "hard", "semi_hard"), seeds=2))
    assert status == 0 and "compared up to 2 pairs, but there are 3" in " ".join(said.out.split())
    assert not (tmp_path / "tables/recall_at_1_all_pairs.csv").exists()


def test_a_folder_that_cannot_be_written_to(tmp_path, reported):
    written(tmp_path, run())
    (tmp_path / "tables").write_text("in the way", encoding="utf-8")
    status, said = reported(tmp_path)
    assert status == 2 and "The report cannot be written into" in said.err and said.err.count("\n") == 1


def test_help_describes_what_is_read_and_written(reported):
    status, said = reported("--help")
    assert status == 0
    for part in ("results.json", "report.html", "--levels", "--commit", "outputs/study"):
        assert part in said.out


def test_the_report_and_a_training_import_only_their_own_libraries():
    code = "import sys, siamese_lab.{0}; print([name for name in {1} if name in sys.modules])"
    for module, strangers in (
        ("report", ("lightning", "torchvision")),
        ("train", ("siamese_lab.study.runs", "siamese_lab.study.tables")),
    ):
        ended = subprocess.run([sys.executable, "-c", code.format(module, strangers)], capture_output=True, text=True)
        assert ended.stdout.strip() == "[]", ended.stderr
