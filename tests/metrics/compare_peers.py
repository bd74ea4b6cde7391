"""Compare retrieval with queries, a gallery and groups with the code of torchreid and open-metric-learning (OML).

Neither package can be installed next to the lab: torchreid 0.2.5 has no wheel, and OML 4.0.0 needs NumPy below 2. The
script reads their sources from folders:

    pip download --no-deps --no-binary torchreid torchreid==0.2.5 && tar xzf torchreid-0.2.5.tar.gz
    pip download --no-deps open-metric-learning==4.0.0 && unzip -d oml open_metric_learning-4.0.0-py3-none-any.whl
    PYTHONPATH=oml:. python tests/metrics/compare_peers.py torchreid-0.2.5

Shapes: N images, D dimensions, Q queries, M images of the gallery.
"""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import torch
from torch import Tensor

from siamese_lab.metrics.retrieval import retrieve
from siamese_lab.query_gallery import QueryGallery

KS = (1, 5, 10)
IMAGES, CLASSES, CAMERAS, SEEDS = 400, 40, 5, 10
UNUSED_BY_OML = ("validators", "gdown", "albumentations", "cv2")
"""Packages that OML imports, but not for its metrics."""


def ranking_of_torchreid(source: Path) -> ModuleType:
    """Return the module of torchreid that ranks, from its source folder."""
    (file,) = source.glob("**/metrics/rank.py")
    spec = importlib.util.spec_from_file_location("rank", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_test(seed: int, spread: float) -> tuple[Tensor, Tensor, QueryGallery]:
    """Return embeddings, labels and roles. A higher `spread` of the class centers makes retrieval easier."""
    generator = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(IMAGES) % CLASSES
    centers = spread * torch.randn(CLASSES, 16, generator=generator)
    z_ND = torch.nn.functional.normalize(torch.randn(IMAGES, 16, generator=generator) + centers[labels_N], dim=1)
    query_N = torch.rand(IMAGES, generator=generator) < 0.3
    return z_ND, labels_N, QueryGallery(query_N, ~query_N, torch.randint(CAMERAS, (IMAGES,), generator=generator))


def ours(z_ND: Tensor, labels_N: Tensor, roles: QueryGallery) -> list[float]:
    """Return CMC at each K, and mAP."""
    figures = retrieve(z_ND, labels_N, KS, roles=roles, distance="euclidean").figures()
    return [*(float(figures[f"recall@{k}"]) for k in KS), float(figures["map"])]


def by_torchreid(module: ModuleType, z_ND: Tensor, labels_N: Tensor, roles: QueryGallery) -> list[float]:
    """Return CMC at each K, and mAP, by `eval_market1501`."""
    queries, gallery, camera_N = roles.query_N, roles.gallery_N, roles.group_N
    assert camera_N is not None
    distances_QM = torch.cdist(z_ND[queries], z_ND[gallery]).numpy()
    columns = [each[part].numpy() for each in (labels_N, camera_N) for part in (queries, gallery)]
    cmc, mean_precision = module.eval_market1501(distances_QM, *columns, max(KS))
    return [*(float(cmc[k - 1]) for k in KS), float(mean_precision)]


def by_oml(z_ND: Tensor, labels_N: Tensor, roles: QueryGallery) -> list[float]:
    """Return CMC at each K, and mAP over the whole gallery, by `batched_knn` and `calc_retrieval_metrics`."""
    from oml.functional.knn import batched_knn
    from oml.functional.metrics import calc_retrieval_metrics

    every = int(roles.gallery_N.sum())
    ids = [each.nonzero().squeeze(1) for each in (roles.query_N, roles.gallery_N)]
    _, found, right = batched_knn(z_ND, *ids, labels_gt=labels_N, sequence_ids=roles.group_N, top_n=every)
    figures = calc_retrieval_metrics(found, right, cmc_top_k=KS, map_top_k=(every,), precision_top_k=(), verbose=False)
    return [*(float(figures["cmc"][k]) for k in KS), float(figures["map"][every])]


def differences(module: ModuleType) -> Iterator[tuple[str, float, float]]:
    """Yield the peer, our Recall@1 and the largest difference of a figure, for each random test."""
    for spread in (0.6, 2.0):
        for seed in range(SEEDS):
            z_ND, labels_N, roles = random_test(seed, spread)
            mine = ours(z_ND, labels_N, roles)
            theirs = by_torchreid(module, z_ND, labels_N, roles)
            yield "torchreid", mine[0], max(abs(a - b) for a, b in zip(mine, theirs, strict=True))
            # OML does not search whole groups, so each group holds one class
            assert roles.group_N is not None
            one_class = roles._replace(group_N=labels_N * CAMERAS + roles.group_N)
            mine = ours(z_ND, labels_N, one_class)
            theirs = by_oml(z_ND, labels_N, one_class)
            yield "OML", mine[0], max(abs(a - b) for a, b in zip(mine, theirs, strict=True))


def main() -> None:
    """Print the largest difference from each peer."""
    for name in UNUSED_BY_OML:
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = MagicMock()
    found = list(differences(ranking_of_torchreid(Path(sys.argv[1]))))
    for peer in ("torchreid", "OML"):
        of_peer = [each for each in found if each[0] == peer]
        recalls = [recall for _, recall, _ in of_peer]
        print(
            f"{peer}: {len(of_peer)} tests, Recall@1 {min(recalls):.1%} to {max(recalls):.1%}, largest difference of "
            f"CMC at {KS} and mAP {max(each for *_, each in of_peer):.1e}"
        )


if __name__ == "__main__":
    main()
