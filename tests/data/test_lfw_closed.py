"""LFW closed splits the photographs of each person with at least 10, without near-duplicates across the parts."""

import numpy as np
import pytest
import torch
from conftest import compose, quick_run
from PIL import Image

from siamese_lab.data.sets import lfw, lfw_closed
from siamese_lab.data.sets.lfw import Lfw
from siamese_lab.data.sets.lfw_closed import LfwClosed, PhotographSplit, split_photographs, without_duplicates
from siamese_lab.data.sets.lfw_people import Person
from siamese_lab.errors import UserError
from siamese_lab.evaluation.evaluator import evaluate
from siamese_lab.metrics.ranking import TIE
from siamese_lab.networks import build as build_network

PEOPLE = (
    Person("Al", 10, "train", 0),
    Person("Bo", 9, "train", 1),
    Person("Cy", 23, "test", 2),
    Person("Di", 12, "train", 3),
)
SMALL = {"crop": 250, "image_size": 16, "color": False, "classes_per_batch": 3, "images_per_class": 2}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Write photographs of noise for four people. The first two photographs of Cy are the same."""
    monkeypatch.setattr(lfw, "people", lambda: PEOPLE)
    monkeypatch.setattr(lfw_closed, "people", lambda: PEOPLE)
    generator = np.random.default_rng(0)
    for person in PEOPLE:
        pixels = generator.integers(0, 256, (person.images, 10, 10), np.uint8)
        if person.name == "Cy":
            pixels[1] = pixels[0]
        for name, image in zip(person.files(), pixels, strict=True):
            file = tmp_path / "root/lfw-py/lfw-deepfunneled" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).resize((250, 250), Image.Resampling.NEAREST).convert("RGB").save(file, quality=95)
    return tmp_path / "root"


def build(copy, tmp_path, **options):
    return LfwClosed(copy, tmp_path / "cache", **SMALL | options)


def test_each_person_is_in_every_part_with_a_fifth_of_the_photographs_but_at_least_two(copy, tmp_path):
    module = build(copy, tmp_path, duplicates_above=1.0)
    for part, counts in zip(module.splits, ([6, 13, 8], [2, 5, 2], [2, 5, 2]), strict=True):
        assert part.class_names == ("Al", "Cy", "Di"), "Bo has 9 photographs"
        assert part.labels_N.bincount().tolist() == counts
    images = torch.cat([part.images_NCHW for part in module.splits]).flatten(1)
    assert len(images.unique(dim=0)) == len(images) - 1, "no photograph is in two parts; two of Cy are equal"
    assert module.gallery.images_NCHW.equal(module.splits.train.images_NCHW)
    assert list(module.test_tables()) == ["images", "gallery"]
    assert module.official_pairs is None


def test_the_gallery_has_true_labels_and_all_classes(copy, tmp_path):
    module = build(copy, tmp_path, label_noise=0.5, duplicates_above=1.0)
    assert module.gallery.labels_N.bincount().tolist() == [6, 13, 8]
    assert module.gallery.class_names == module.splits.test.class_names


def test_the_split_follows_from_its_seed():
    labels_N = torch.arange(3).repeat_interleave(torch.tensor([10, 15, 50]))
    one, same, other = (split_photographs(labels_N, seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, one, same))
    assert not torch.equal(one.test_N, other.test_N)
    assert torch.equal(torch.cat(one).sort().values, torch.arange(75))
    assert [labels_N[row_N].bincount().tolist() for row_N in one] == [[6, 9, 30], [2, 3, 10], [2, 3, 10]]


def test_near_duplicates_are_dropped_from_the_later_part_by_plain_loops():
    generator = torch.Generator().manual_seed(0)
    pixels_ND = torch.randint(256, (40, 12), generator=generator).to(torch.uint8)
    labels_N = torch.arange(40) % 2
    split = PhotographSplit(torch.arange(0, 20), torch.arange(20, 30), torch.arange(30, 40))
    kept = without_duplicates(split, pixels_ND, labels_N, above=0.5)
    rows = pixels_ND.double().tolist()

    def is_new(row, earlier):
        return all(np.corrcoef(rows[row], rows[e])[0, 1] <= 0.5 for e in earlier if labels_N[e] == labels_N[row])

    assert kept.train_N.tolist() == list(range(20))
    assert kept.validation_N.tolist() == [row for row in range(20, 30) if is_new(row, range(20))]
    assert kept.test_N.tolist() == [row for row in range(30, 40) if is_new(row, range(30))]
    assert 0 < len(kept.test_N) < 10


def test_near_duplicates_are_counted_in_the_provenance(copy, tmp_path):
    found = set()
    for seed in range(12):
        module = build(copy, tmp_path, split_seed=seed)
        recorded, counts = module.provenance(), [len(part) for part in module.splits]
        validation, test = 9 - counts[1], 9 - counts[2]
        assert counts[0] == 27
        assert validation + test <= 1
        expected = f"{validation} of validation and {test} of test dropped, correlation above 0.94"
        assert recorded["near_duplicates"] == expected
        found.add((validation, test))
    assert found == {(0, 0), (1, 0), (0, 1)}
    assert recorded["most_frequent"].startswith("Cy: ")


@pytest.mark.parametrize("above", [0.0, -1.0, 1.1])
def test_a_correlation_out_of_range_is_refused(above):
    with pytest.raises(UserError, match=r"data\.duplicates_above is a correlation above 0 and at most 1, but is"):
        LfwClosed(duplicates_above=above)


def test_networks_that_have_seen_the_photographs_are_refused(copy, tmp_path):
    closed, view_1 = build(copy, tmp_path), Lfw(copy, tmp_path / "cache")
    closed.check_unseen({"name": "lfw_closed", "split_seed": 0})
    closed.check_unseen({"name": "omniglot"})
    with pytest.raises(UserError, match=r"split_seed=3 has seen test photographs of data\.split_seed=0"):
        closed.check_unseen({"name": "lfw_closed", "split_seed": 3})
    with pytest.raises(UserError, match="View 1 of LFW has seen the test photographs of 2 people"):
        closed.check_unseen({"name": "lfw", "view": 1, "fold": None})
    with pytest.raises(UserError, match="lfw_closed has seen people that View 1 of LFW tests"):
        view_1.check_unseen({"name": "lfw_closed"})


def test_an_evaluation_searches_the_gallery_and_the_test_images(copy, tmp_path):
    module = build(copy, tmp_path, duplicates_above=1.0)
    network = build_network("conv4", channels=1, image_size=16, width=4, seed=0)
    found = evaluate(network.eval(), module, k=(1, 2), pairs=0, episodes=0)
    queries, searched = (part.images_NCHW.float() / 255 for part in (module.splits.test, module.gallery))
    with torch.no_grad():
        s_NM = network(queries) @ network(searched).T
    own_NM = module.splits.test.labels_N[:, None] == module.gallery.labels_N
    best_N, other_N = (s_NM.masked_fill(others, -1).max(1).values for others in (~own_NM, own_NM))
    hit_N = best_N > other_N + TIE
    figures = found.protocols["retrieval"].figures
    assert figures["recall@1"].value == pytest.approx(float(hit_N.float().mean()))
    of_people = [float(hit_N[module.splits.test.labels_N == label].float().mean()) for label in range(3)]
    assert figures["recall@1_macro"].value == pytest.approx(sum(of_people) / 3)
    assert "gallery of 27 other images" in found.protocols["retrieval"].how
    assert found.protocols["retrieval_among_test"].facts["queries"] == 9
    assert {each.name: each.recall_at_1 for each in found.classes} == pytest.approx(
        dict(zip(("Al", "Cy", "Di"), of_people, strict=True))
    )


@pytest.mark.slow
def test_a_run_reports_the_gallery_the_test_images_and_both_floors(copy, tmp_path):
    small = [f"data.{name}={str(value).lower()}" for name, value in SMALL.items()]
    left = quick_run(
        tmp_path / "run",
        "data=lfw_closed",
        "recipe=none",
        "network.width=4",
        "data.duplicates_above=1",
        f"paths.data={copy}",
        f"paths.cache={tmp_path / 'cache'}",
        *(each for each in small if "classes" not in each),
        "data.classes_per_batch=3",
    )
    for figures in (left.test, *left.floors.values()):
        assert {"recall@1", "recall@1_macro", "recall@1_among_test", "map@r_among_test"} <= figures.keys()
    assert left.floors.keys() == {"pixels", "untrained"}
    assert {name: each["queries"] for name, each in left.per_class.items()} == {"Al": 2, "Cy": 5, "Di": 2}
    queries = sum(each["queries"] * each["recall@1"] for each in left.per_class.values()) / 9
    assert left.test["recall@1"] == pytest.approx(queries, abs=1e-4)
    assert left.data_set["protocol"] == "closed"
    module = build(copy, tmp_path, duplicates_above=1.0)
    queries_ND, searched_MD = (each.images_NCHW.flatten(1).double() for each in (module.splits.test, module.gallery))
    own_NM = module.splits.test.labels_N[:, None] == module.gallery.labels_N
    shares = []
    for mean_D in (0, torch.cat([queries_ND, searched_MD]).mean(0)):
        s_NM = torch.nn.functional.cosine_similarity(
            (queries_ND - mean_D)[:, None], (searched_MD - mean_D)[None], dim=2
        )
        shares.append(float(own_NM[torch.arange(9), s_NM.argmax(1)].double().mean()))
    assert left.floors["pixels"]["recall@1"] == pytest.approx(max(shares), abs=1e-6)


@pytest.mark.slow
def test_the_real_photographs_have_the_stated_counts(real_root, real_cache):
    config = compose("data=lfw_closed", f"paths.data={real_root}", f"paths.cache={real_cache}")
    options = {name: value for name, value in config.data.items() if name != "name"}
    module = LfwClosed(**options)
    whole = lfw_closed.closed_people(module._small.everyone)
    assert (len(whole), len(whole.class_names)) == (4324, 158)
    train, validation, test = module.splits
    assert {len(part.class_names) for part in module.splits} == {158}
    assert 4324 - 19 <= len(train) + len(validation) + len(test) < 4324
    assert min(part.labels_N.bincount(minlength=158).min() for part in module.splits) >= 1
    assert "George_W_Bush: 104 of 855 queries (12.2%)" in module.provenance()["most_frequent"]
    assert module.provenance()["near_duplicates"].startswith("4 of validation and 6 of test dropped")
    assert len(test) == 855
