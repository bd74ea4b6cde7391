"""Decide where a run trains: in this process, in several that are to be started, or in several that were started."""

import os
from typing import NamedTuple

import lightning
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from omegaconf import DictConfig

from siamese_lab.errors import UserError
from siamese_lab.training.launch import LocalEnvironment, Member

STRATEGIES = ("auto", "ddp", "ddp_spawn")


class Placement(NamedTuple):
    """The processes of a run."""

    processes: int
    environment: ClusterEnvironment | None
    """Tells Lightning of them; None if they are still to be started."""
    rank: int = 0
    """The number of this process."""

    @property
    def is_launched(self) -> bool:
        """Whether torchrun or srun has started the processes, each with the whole command line."""
        return self.processes > 1 and isinstance(self.environment, (TorchElasticEnvironment, SLURMEnvironment))

    @classmethod
    def alone(cls) -> "Placement":
        """Return the place of a process that trains alone, whatever the environment variables say."""
        return cls(1, LightningEnvironment())

    @classmethod
    def of(cls, member: Member) -> "Placement":
        """Return the place of a process that the lab has started."""
        return cls(member.processes, LocalEnvironment(member), member.rank)


def find_placement(config: DictConfig) -> Placement:
    """Read from the options and from the environment where a run takes place.

    Environment variables of a launcher count only if it has started as many processes as the options ask for. Others,
    such as those of the SLURM job that a run of one process is a part of, are ignored.

    Args:
        config: the group `trainer`.

    Raises:
        UserError: for a strategy that does not share out batches, and for processes that nobody has started.
    """
    strategy, nodes = config.get("strategy", "auto"), config.get("num_nodes", 1)
    if strategy not in STRATEGIES:
        raise UserError(
            f"trainer.strategy={strategy} is not supported: several processes share out each batch by "
            f"DistributedDataParallel. Set it to one of {', '.join(STRATEGIES)}."
        )
    processes = local_devices(config) * nodes
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        started = int(os.environ["WORLD_SIZE"])
        if started != processes:
            raise UserError(
                f"torchrun has started {started} processes, but trainer.devices={config.devices} and "
                f"trainer.num_nodes={nodes} ask for {processes}. Set them to what torchrun starts, or leave it out."
            )
        return (
            Placement.alone()
            if processes == 1
            else Placement(processes, TorchElasticEnvironment(), int(os.environ["RANK"]))
        )
    if processes == 1:
        return Placement.alone()
    if os.environ.get("SLURM_STEP_NUM_TASKS") == str(processes):
        try:
            environment = SLURMEnvironment(auto_requeue=False)
        except RuntimeError as error:
            raise UserError(str(error)) from error
        return Placement(processes, environment, int(os.environ["SLURM_PROCID"]))
    if nodes > 1:
        raise UserError(
            f"trainer.num_nodes={nodes} needs torchrun or srun to start {processes} processes on {nodes} machines, but "
            "neither has. To train on this machine alone, leave trainer.num_nodes at 1."
        )
    return Placement(processes, None)


def local_devices(config: DictConfig) -> int:
    """Return how many devices of this machine a run uses.

    Raises:
        UserError: for devices that are not there.
    """
    if config.devices == 1:
        return 1
    try:
        trainer = lightning.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            strategy="auto",
            plugins=[LightningEnvironment()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"trainer.devices={config.devices} cannot be used here: {error}") from error
    if trainer.num_devices > 1 and trainer.strategy.root_device.type not in ("cpu", "cuda"):
        raise UserError(f"trainer.devices={config.devices} needs CPUs or CUDA GPUs; set it to 1.")
    return int(trainer.num_devices)
