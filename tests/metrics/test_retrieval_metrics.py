"""The metric computes the figures of all images together, in chunks and over several processes."""

import math
import multiprocessing
import os
import socket

import pytest
import torch
from retrieval_oracles import clustered, embeddings, random_labels
from shipped import RETRIEVAL_FIGURES
from torch.utils.data import DistributedSampler

from siamese_lab.metrics import RetrievalMetrics
from siamese_lab.metrics.retrieval import macro_figures, retrieve
from siamese_lab.query_gallery import QueryGallery


def figures_of(z_ND, labels_N, *k, **options):
    """Return the figures of all queries and the means over classes, without the metric."""
    found = retrieve(z_ND, labels_N, *k, **options)
    return found.figures() | macro_figures(found, labels_N)


def plain(figures):
    return {name: figure.item() for name, figure in figures.items()}


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_the_metric_in_chunks_equals_the_function(chunk, distance):
    z_ND, labels_N = 2 * embeddings(50), random_labels(50, 10)
    metric = RetrievalMetrics(k=(1, 4), distance=distance)
    metric.update(embeddings(3, seed=9), torch.zeros(3, dtype=torch.int64))
    metric.reset()
    for z_BD, labels_B in zip(z_ND.split(chunk), labels_N.split(chunk), strict=True):
        metric.update(z_BD, labels_B)
    assert plain(metric.compute()) == plain(figures_of(z_ND, labels_N, (1, 4), distance=distance))
    assert list(metric.compute()) == [
        "recall@1",
        "recall@4",
        "r_precision",
        "map@r",
        "mrr",
        "recall@1_macro",
        "map@r_macro",
    ]


def test_an_image_with_an_id_counts_once_and_the_order_does_not_matter():
    z_ND, labels_N = clustered(20, 5, 2.0)
    once = plain(figures_of(z_ND, labels_N))
    seen = torch.cat([torch.randperm(100, generator=torch.Generator().manual_seed(0)), torch.arange(20)])
    with_ids, without = RetrievalMetrics(), RetrievalMetrics()
    with_ids.update(z_ND[seen], labels_N[seen], 3 * seen)
    without.update(z_ND[seen], labels_N[seen])
    assert plain(with_ids.compute()) == once
    assert plain(without.compute())["recall@1"] > once["recall@1"], "a repeated image finds itself"


def test_few_images_have_undefined_recalls():
    """Each query has three other images, so Recall@4 and Recall@8 are undefined."""
    metric = RetrievalMetrics()
    metric.update(embeddings(4), torch.tensor([0, 0, 1, 1]))
    figures = plain(metric.compute())
    assert [name for name, figure in figures.items() if math.isnan(figure)] == ["recall@4", "recall@8"]
    assert list(figures) == RETRIEVAL_FIGURES


def test_ids_of_some_chunks_only_are_refused():
    metric = RetrievalMetrics()
    metric.update(embeddings(9), torch.zeros(9).long(), torch.arange(9))
    metric.update(embeddings(9), torch.zeros(9).long())
    with pytest.raises(ValueError, match="Some images came with ids and some without"):
        metric.compute()


def uneven(rank):
    """Return 71 of the 100 images for the first process, 29 for the second, both out of order."""
    return torch.randperm(100, generator=torch.Generator().manual_seed(0))[slice(71) if rank == 0 else slice(71, 100)]


def shared_out(rank):
    """Share the images as torch's sampler does for 3 processes: they see 102 images in all, two of them twice."""
    sampler = DistributedSampler(range(100), num_replicas=3, rank=rank, shuffle=True, seed=1)
    assert len(sampler) == 34
    return torch.tensor(list(sampler))


PARTS = {uneven: 2, shared_out: 3}
ROLES = QueryGallery(torch.arange(100) % 3 == 0, torch.arange(100) % 3 != 1, torch.arange(100) // 20)


def one_of_several(rank, port, of_rank, results):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=PARTS[of_rank])
    z_ND, labels_N = clustered(20, 5, 2.0)
    metric, with_roles = RetrievalMetrics(), RetrievalMetrics(roles=ROLES)
    for seen in of_rank(rank).split(10):
        metric.update(z_ND[seen], labels_N[seen], seen)
        with_roles.update(z_ND[seen], labels_N[seen], seen)
    figures, gathered = metric.compute(), metric.gathered()
    assert all(map(torch.equal, metric.figures(*gathered).values(), figures.values())), "gathered are all images"
    by_roles, roles = with_roles.compute(), with_roles.gathered_roles()
    assert all(map(torch.equal, with_roles.figures(*gathered, roles).values(), by_roles.values()))
    results.put((plain(figures), plain(by_roles)))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("of_rank", PARTS)
def test_several_processes_give_the_figures_of_one(of_rank):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [
        context.Process(target=one_of_several, args=(rank, port, of_rank, results)) for rank in range(PARTS[of_rank])
    ]
    for process in processes:
        process.start()
    figures = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    z_ND, labels_N = clustered(20, 5, 2.0)
    alone, with_roles = plain(figures_of(z_ND, labels_N)), RetrievalMetrics(roles=ROLES)
    with_roles.update(z_ND, labels_N, torch.arange(100))
    assert 0.1 < alone["recall@1"] < 0.9
    assert figures == [(alone, plain(with_roles.compute()))] * len(processes)


def test_ks_are_an_option_and_one_above_the_images_is_undefined():
    z_ND, labels_N = clustered(10, 5, 2.0)
    metric = RetrievalMetrics(k=(1, 10, 49, 1000))
    metric.update(z_ND, labels_N)
    figures = plain(metric.compute())
    assert list(figures)[:5] == ["recall@1", "recall@10", "recall@49", "recall@1000", "r_precision"]
    assert figures["recall@1"] <= figures["recall@10"] <= figures["recall@49"] == 1
    assert math.isnan(figures["recall@1000"])
