"""Start processes that form a group (gloo), and return what each process computed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_in_group(function: Callable[..., Any], ranks: int, folder: Path, *arguments: Any) -> list[Any]:
    """Call a function in every process of a group, and return the results in the order of the ranks.

    Args:
        function: a function of a module, because it is pickled by name.
        ranks: number of processes.
        folder: an empty folder, in which the processes exchange files.
        *arguments: arguments of the function.
    """
    mp.start_processes(_call, (function, ranks, folder, arguments), ranks, start_method="spawn")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(ranks)]


def _call(rank: int, function: Callable[..., Any], ranks: int, folder: Path, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=ranks)
    # A rank that leaves while another still connects closes that connection: all arrive, all compute, all leave.
    dist.barrier()
    torch.save(function(*arguments), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
