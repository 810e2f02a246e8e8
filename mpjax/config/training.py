"""Hyperparameters of training: heads, optimiser, devices."""

import dataclasses
from typing import Annotated

from mpjax.config import rules
from mpjax.config.model import LoraConfig


@dataclasses.dataclass(frozen=True)
class HeadConfig(rules.Section):
    """The classifier head trained on cached embeddings (`mpjax.heads`)."""

    l2: rules.Positives = (0.01, 0.1, 1.0, 10.0, 100.0)  # candidates, chosen by grouped CV
    class_balanced: bool = True  # weight classes equally in the loss
    max_iterations: rules.Count = 200  # of L-BFGS
    tolerance: rules.NonNegative = 1e-4  # on the largest component of the gradient
    coarse: bool = False  # train a second head on the coarse classes


@dataclasses.dataclass(frozen=True)
class AugmentConfig(rules.Section):
    """Random changes to training clips (`mpjax.data.pipeline`); the defaults are published."""

    # Range of the random crop's share of the frame
    scale: Annotated[tuple[float, ...], rules.each(rules.SHARE, 2, ascending=True)] = (0.08, 1.0)
    flip: bool = True  # mirror half of the clips; this swaps left and right paws


@dataclasses.dataclass(frozen=True)
class OptimConfig(rules.Section):
    """AdamW and its schedule (`mpjax.training.optim`); the defaults are the published ones."""

    learning_rate: rules.Positive = 3e-4  # peak
    projector_scale: rules.NonNegative = 0.1  # times the learning rate: the projector's, if trained
    betas: Annotated[tuple[float, ...], rules.each(rules.CHANCE, 2)] = (0.9, 0.999)
    weight_decay: rules.NonNegative = 0.05  # none on norms and bias tables
    warmup_epochs: rules.NonNegative = 2.5  # linear, from 0
    clip_norm: rules.NonNegative = 0.0  # bound of the gradient's global norm; 0: none
    accumulate: rules.Count = 1  # parts of a batch, computed one after the other to save memory
    ema: rules.Chance = 0.0  # decay of an average of the weights, which is then evaluated; 0: none


@dataclasses.dataclass(frozen=True)
class MeshConfig(rules.Section):
    """How devices are used (`mpjax.training.partitioning`)."""

    data: rules.Natural = 0  # ways the batch is split; 0: all devices that `model` leaves
    model: rules.Count = 1  # ways the weights' heads and hidden units are split
    fully_sharded: bool = False  # split parameters and optimiser state over `data` too
    # Several hosts: found automatically on TPU pods, Slurm and Open MPI; otherwise set these
    coordinator: Annotated[str, rules.ADDRESS] = ""  # HOST:PORT of the first process
    processes: rules.Natural = 0
    process: int = 0  # number of this process
    timeout: rules.Count = 30  # s after which the others stop when one process has died


@dataclasses.dataclass(frozen=True)
class SweepConfig(rules.Section):
    """Heads of every learning rate x weight decay x seed at once (`mpjax.heads.sweep`)."""

    learning_rates: rules.Positives = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # peaks of the schedule
    weight_decays: rules.NonNegatives = (0.0, 0.05, 0.5, 5.0)
    seeds: rules.Seeds = (0, 1, 2, 3, 4)  # of a head's first weights and its batches
    epochs: rules.Positive = 30.0
    batch_size: rules.Count = 16  # views per step
    class_balanced: bool = True  # weight classes equally in the loss
    parallel_trials: rules.Count = 32  # trained at the same time; bounds the memory


@dataclasses.dataclass(frozen=True)
class TrainConfig(rules.Section):
    """Training by gradient descent on clips (`mpjax.training.loop`)."""

    # What is trained. probe: heads on cached embeddings | head: a head while the projector runs in
    # every epoch, as published | lora: head and adapters | all: head and projector
    what: Annotated[str, rules.one_of("probe", "sweep", "head", "lora", "all")] = "probe"
    epochs: rules.Positive = 30.0
    batch_size: rules.Count = 16  # clips per step, over all devices
    dropout: rules.Chance = 0.5  # of the embedding, before the head
    drop_path: rules.Chance = 0.1  # of the projector's last block; grows linearly from 0
    label_smoothing: rules.Chance = 0.0
    # Of classes: none | weights, in the loss | sampling, of clips
    balance: Annotated[str, rules.one_of("none", "weights", "sampling")] = "none"
    remat: bool = False  # compute each block again in the backward pass, to save memory
    seed: rules.Seed = 0
    save_every: rules.Count = 500  # steps between checkpoints
    eval_every: rules.Count = 500  # steps between evaluations on the split `val`
    keep: rules.Count = 3  # checkpoints: the best one on `val`, and the latest
    log_every: rules.Count = 10  # steps
    processes: rules.Natural = 0  # that read and decode clips; 0: threads of this one
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    lora: LoraConfig = LoraConfig()
