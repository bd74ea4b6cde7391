"""Decide which processes train a run: this one, new ones, or ones that torchrun or srun has started."""

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
    """Describes the processes to Lightning; None if they have not been started yet."""
    rank: int = 0
    """Rank of this process."""

    @property
    def is_launched(self) -> bool:
        """Return whether torchrun or srun has started the processes, each with the whole command line."""
        return self.processes > 1 and isinstance(self.environment, (TorchElasticEnvironment, SLURMEnvironment))

    @classmethod
    def alone(cls) -> "Placement":
        """Return the placement of a process that trains alone. Environment variables are ignored."""
        return cls(1, LightningEnvironment())

    @classmethod
    def of(cls, member: Member) -> "Placement":
        """Return the placement of a process that the lab has started."""
        return cls(member.processes, LocalEnvironment(member), member.rank)


def find_placement(config: DictConfig) -> Placement:
    """Find the processes of a run from its options and the environment.

    Environment variables of a launcher count only if the launcher has started as many processes as the options request.
    Other variables are ignored, for example in a SLURM job that runs a single process.

    Args:
        config: the options of the group `trainer`.

    Raises:
        UserError: for a strategy other than DistributedDataParallel, or if no launcher has started the processes.
    """
    strategy, nodes = config.get("strategy", "auto"), config.get("num_nodes", 1)
    if strategy not in STRATEGIES:
        raise UserError(
            f"trainer.strategy={strategy} is not supported: several processes train by "
            f"DistributedDataParallel only. Set it to one of {', '.join(STRATEGIES)}."
        )
    processes = local_devices(config) * nodes
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        started = int(os.environ["WORLD_SIZE"])
        if started != processes:
            raise UserError(
                f"torchrun has started {started} processes, but trainer.devices={config.devices} and "
                f"trainer.num_nodes={nodes} ask for {processes}. Make the numbers equal, or "
                "start without torchrun."
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
            "neither has started them. To train on this machine only, set trainer.num_nodes=1."
        )
    return Placement(processes, None)


def local_devices(config: DictConfig) -> int:
    """Return the number of devices of this machine that a run uses.

    Raises:
        UserError: if the devices do not exist.
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
        raise UserError(f"trainer.devices={config.devices} needs CPUs or CUDA GPUs. Set trainer.devices=1.")
    return int(trainer.num_devices)
