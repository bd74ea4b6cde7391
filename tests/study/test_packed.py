"""All runs of a study fit into one packed file, from which reports and sweeps read them as from their folders."""

import gzip
import json
import os
import shutil
import sys

import pytest
from synthetic import run, study, written

from siamese_lab import report
from siamese_lab.errors import UserError
from siamese_lab.runs import packed
from siamese_lab.runs.packed import find_results, run_records
from siamese_lab.study.runs import read_study
from siamese_lab.sweep.plan import Planned
from siamese_lab.sweep.states import States


def pack(folder):
    return packed.pack(folder, run_records(folder))


def lines(folder):
    return gzip.decompress((folder / packed.FILE_NAME).read_bytes()).splitlines(keepends=True)


def write_lines(folder, content):
    (folder / packed.FILE_NAME).write_bytes(gzip.compress(b"".join(content)))


def packed_only(folder, *runs):
    """Pack runs and delete their folders."""
    pack(written(folder, *runs))
    for each in runs:
        shutil.rmtree(folder / each.data, ignore_errors=True)
    return folder


def test_packed_runs_are_read_like_those_of_folders(tmp_path):
    study(tmp_path, data=("omniglot", "mnist:closed"), strategies=("random", "hard"), seeds=2)
    written(tmp_path, run(seed=7, status="failed", error="x"))
    before = read_study(tmp_path)
    assert pack(tmp_path).runs == len(before.every) == 9
    for name in ("omniglot", "mnist-closed"):
        shutil.rmtree(tmp_path / name)
    assert read_study(tmp_path) == before


def test_the_same_runs_give_the_same_bytes(tmp_path):
    one, two = (tmp_path / name for name in ("one", "two"))
    runs = [run(seed=seed) for seed in range(3)]
    pack(written(one, *runs))
    pack(written(two, *reversed(runs)))
    first = (one / packed.FILE_NAME).read_bytes()
    assert first == (two / packed.FILE_NAME).read_bytes()
    pack(two)
    assert first == (two / packed.FILE_NAME).read_bytes()
    assert first[4:8] == bytes(4), "no time of writing"
    assert [json.loads(line)["folder"] for line in lines(one)] == [f"omniglot/random/seed={seed}" for seed in range(3)]


def test_packing_again_adds_runs_and_keeps_those_without_folders(tmp_path):
    packed_only(tmp_path, run(recall=0.1), run(seed=1, recall=0.2))
    written(tmp_path, run(seed=1, recall=0.3), run(seed=2, recall=0.4))
    assert pack(tmp_path).runs == 3
    shutil.rmtree(tmp_path / "omniglot")
    assert [each.results.test["recall@1"] for each in read_study(tmp_path).runs] == [0.1, 0.3, 0.4]


def test_a_results_file_counts_before_a_packed_one(tmp_path):
    packed_only(tmp_path, run(recall=0.1))
    (tmp_path / "omniglot/random/seed=0").mkdir(parents=True)
    assert find_results(tmp_path / "omniglot/random/seed=0").test["recall@1"] == 0.1
    written(tmp_path, run(recall=0.9))
    assert [each.results.test["recall@1"] for each in read_study(tmp_path).runs] == [0.9]
    assert find_results(tmp_path / "omniglot/random/seed=0").test["recall@1"] == 0.9


def test_packed_files_of_subfolders_are_read(tmp_path):
    packed_only(tmp_path / "first", run())
    packed_only(tmp_path / "second/deeper", run(seed=1))
    assert [each.folder for each in read_study(tmp_path).runs] == [
        "first/omniglot/random/seed=0",
        "second/deeper/omniglot/random/seed=1",
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda line: line[: len(line) // 2] + b"\n", "is damaged"),
        (lambda line: b"[]\n", r"folder is None, expected a relative path"),
        (lambda line: line.replace(b"omniglot/random/seed=1", b"../random/seed=1"), r"folder is '\.\./random"),
        (lambda line: line.replace(b"omniglot/random/seed=1", b"/etc/seed=1"), "folder is '/etc/seed=1'"),
        (lambda line: line.replace(b"seed=1", b"seed=0", 1), "the folder omniglot/random/seed=0 is also in an earlier"),
        (lambda line: line.replace(b'"results":', b'"other":', 1), "other parts than folder and results"),
        (lambda line: line.replace(b'"seed":1', b'"seed":"one"'), "seed is 'one', expected a whole number"),
        (lambda line: line.replace(b'"schema_version":2', b'"schema_version":9'), "schema version 9.* reads 2"),
        (lambda line: line.replace(b'"seed":1,', b'"seed":1,"strange":1,'), "another version.*strange is unknown"),
    ],
)
def test_a_damaged_line_is_named_and_costs_no_other_run(tmp_path, change, reason):
    packed_only(tmp_path, run(), run(seed=1), run(seed=2))
    first, second, third = lines(tmp_path)
    assert change(second) != second
    write_lines(tmp_path, [first, change(second), third])
    found = read_study(tmp_path)
    assert [each.seed for each in found.runs] == [0, 2]
    ((place, why),) = found.excluded
    assert place in ("omniglot/random/seed=1", "runs.jsonl.gz, line 2")
    with pytest.raises(UserError, match=reason):
        raise UserError(why)
    with pytest.raises(UserError, match=reason):  # its run would be lost
        pack(tmp_path)
    with pytest.raises(UserError, match=reason):  # its run would start again
        packed.check_packed(tmp_path)


def packed_reason(folder):
    """Return why no run of a packed file is used."""
    found = read_study(folder)
    assert found.runs == []
    ((place, why),) = found.excluded
    assert place == packed.FILE_NAME and "none of its runs is used, because " in why
    for use in (pack, lambda folder: packed.check_packed(folder / "omniglot")):
        with pytest.raises(UserError, match="none of its runs is used, because ") as refused:
            use(folder)
        assert "\n" not in str(refused.value)
    return why


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-2000], "it is truncated"),
        (lambda content: content[:-5], "it is truncated"),
        (
            lambda content: content[:-8] + bytes(4) + content[-4:],
            "it is damaged (Error -3 while",
        ),
        (lambda content: b"", "it is truncated"),
        (lambda content: b"no gzip at all", "it is damaged (Error -3 while"),
        (lambda content: content + content, "more data follows its end"),
        (lambda content: content + bytes(10), "more data follows its end"),
    ],
)
def test_no_run_of_a_damaged_file_is_used(tmp_path, damage, reason):
    packed_only(tmp_path, *(run(seed=seed) for seed in range(40)))
    path = tmp_path / packed.FILE_NAME
    path.write_bytes(damage(path.read_bytes()))
    assert reason in packed_reason(tmp_path)


def test_a_flipped_bit_in_a_figure_is_found(tmp_path):
    """Stored blocks decompress with any content, so only the checksum tells."""
    packed_only(tmp_path, run(recall=0.92))
    content = gzip.compress(b"".join(lines(tmp_path)), compresslevel=0)
    assert content.count(b'"recall@1":0.92') > 0
    (tmp_path / packed.FILE_NAME).write_bytes(content.replace(b'"recall@1":0.92', b'"recall@1":0.12'))
    assert "it is damaged (Error -3" in packed_reason(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\n" * (packed.MAX_LINES + 1), "it holds more than 10,000 runs"),
        (b"x" * (packed.MAX_BYTES + 1), "a line has more than 33,554,432 bytes"),
        (b"\n" + b"x" * (packed.MAX_BYTES + 1) + b"\n", "a line has more than 33,554,432 bytes"),
    ],
)
def test_a_file_that_unpacks_to_more_than_a_bound_is_refused(tmp_path, content, reason):
    write_lines(tmp_path, [content])
    assert reason in packed_reason(tmp_path)


def test_sizes_are_bounded_before_they_are_read(tmp_path, monkeypatch):
    packed_only(tmp_path, run(), run(seed=1))
    unpacked = sum(map(len, lines(tmp_path)))
    monkeypatch.setattr(packed, "MAX_UNPACKED", unpacked - 1)
    assert f"or more than {unpacked - 1:,} bytes of them" in packed_reason(tmp_path)
    path = tmp_path / packed.FILE_NAME
    with path.open("r+b") as stream:
        stream.truncate(8 << 30)  # a sparse file
    assert "it has 8,589,934,592 bytes, expected at most" in packed_reason(tmp_path)


def test_too_many_or_too_large_results_are_not_packed(tmp_path, monkeypatch):
    written(tmp_path, run(), run(seed=1))
    for name in ("MAX_LINES", "MAX_UNPACKED"):
        with monkeypatch.context() as patched, pytest.raises(UserError, match="Pack each of its subfolders"):
            patched.setattr(packed, name, 1)
            pack(tmp_path)
    assert not (tmp_path / packed.FILE_NAME).exists()


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a device"])
def test_a_packed_file_that_is_no_file_is_one_sentence(tmp_path, kind):
    path = tmp_path / packed.FILE_NAME
    make = {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "link to a device": lambda: path.symlink_to("/dev/zero"),
    }
    make[kind]()
    written(tmp_path, run())
    found = read_study(tmp_path)
    assert len(found.runs) == 1
    ((place, why),) = found.excluded
    assert place == packed.FILE_NAME and "no regular file" in why
    with pytest.raises(UserError, match=r"none of its runs is used"):
        pack(tmp_path)


@pytest.mark.parametrize("damage", ["", "{", '{"schema_version": 99}', None])
def test_packed_results_count_if_the_results_file_cannot_be_used(tmp_path, damage):
    packed_only(tmp_path, run(recall=0.7))
    before = lines(tmp_path)
    place = tmp_path / "omniglot/random/seed=0/results.json"
    place.parent.mkdir(parents=True)
    os.mkfifo(place) if damage is None else place.write_text(damage, encoding="utf-8")
    found = read_study(tmp_path)
    assert [each.results.test["recall@1"] for each in found.runs] == [0.7]
    assert "The packed results count, because its results.json cannot be used" in found.excluded[0].reason
    left = pack(tmp_path)
    assert lines(tmp_path) == before and len(left.notes) == 1


def test_a_run_that_has_not_finished_does_not_replace_a_finished_packed_one(tmp_path):
    packed_only(tmp_path, run(recall=0.7))
    before = lines(tmp_path)
    written(tmp_path, run(status="failed", error="x"))
    found = read_study(tmp_path)
    assert [each.status for each in (one.results for one in found.runs)] == ["finished"]
    assert "its results.json says 'failed'" in found.excluded[0].reason
    pack(tmp_path)
    assert lines(tmp_path) == before


def test_other_results_replace_packed_ones_with_a_sentence(tmp_path):
    packed_only(tmp_path, run(recall=0.7))
    written(tmp_path, run(recall=0.8))
    assert pack(tmp_path).notes == [
        "omniglot/random/seed=0: Its results.json counts, and differs from the packed results."
    ]
    assert pack(tmp_path).notes == []


def test_evaluations_and_trials_are_not_packed(tmp_path, monkeypatch):
    written(tmp_path, run())
    for name in ("evaluations/1", "trial=3"):
        written(tmp_path / name, run(seed=1))
    monkeypatch.setattr(sys, "argv", ["siamese_lab.report", str(tmp_path), "--pack"])
    report.main()
    assert [json.loads(line)["folder"] for line in lines(tmp_path)] == ["omniglot/random/seed=0"]


def test_the_command_names_results_that_it_leaves_out(tmp_path, monkeypatch, capsys):
    written(tmp_path, run())
    (tmp_path / "other").mkdir()
    (tmp_path / "other/results.json").write_text("{", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["siamese_lab.report", str(tmp_path), "--pack"])
    report.main()
    said = " ".join(capsys.readouterr().out.split())
    assert "Left out: " in said and "other/results.json is damaged" in said and "Packed 1 run, 0.0 MB" in said


def test_a_sweep_counts_packed_runs_as_finished(tmp_path):
    packed_only(tmp_path, run(recall=0.7), run(seed=1, status="failed", error="x"))
    written(tmp_path, run(seed=2, recall=0.8))
    planned = [
        Planned(tmp_path / name, name, "omniglot", "random", seed, 1000, {})
        for seed, name in enumerate(f"omniglot/random/seed={seed}" for seed in range(4))
    ]
    states = States(planned, since=0).read()
    assert [each.what for each in states] == ["finished", "left", "finished", "left"]
    assert [each.recall for each in states] == [0.7, None, 0.8, None]
