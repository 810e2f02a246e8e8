"""The FLOPs of a program are those of its model, however it is computed."""

import dataclasses

import jax

from mpjax.config import ArchitectureConfig, ProjectorConfig, StudyConfig, TrainConfig, VideoConfig
from mpjax.profiling import aot

# Wide enough for matrix products to outweigh all else.
CONFIG = StudyConfig(
    video=VideoConfig(frames=4),
    projector=ProjectorConfig(
        kind="swin",
        weights="random",
        size=32,
        batch_size=4,
        architecture=ArchitectureConfig(
            embed_dim=32, depths=(1, 1), num_heads=(1, 2), window=(2, 4, 4)
        ),
    ),
    train=TrainConfig(what="all", batch_size=8),
)


def test_a_step_of_training_needs_three_times_the_flops_of_a_projection():
    """Forward, and backward to the weights and to the inputs; the first layer has no inputs."""
    assert 2.5 < aot.model_flops("train", CONFIG) / aot.model_flops("embed", CONFIG) < 3.1


def test_flops_count_what_is_done_and_not_how():
    """Neither computing blocks twice, nor cutting the batch, nor the form changes them."""
    optim = dataclasses.replace(CONFIG.train.optim, accumulate=4)
    other = dataclasses.replace(
        CONFIG,
        train=dataclasses.replace(CONFIG.train, remat=True, optim=optim),
        projector=dataclasses.replace(CONFIG.projector, attention_impl="blocked"),
    )
    assert aot.model_flops("train", other) == aot.model_flops("train", CONFIG)


def test_flops_of_a_layer_are_two_per_weight_and_token():
    network = aot.abstract_projector(CONFIG.projector, attention_impl="xla")
    tokens = {"patch": 2 * 8 * 8, "stage0": 2 * 8 * 8, "stage0_merging": 2 * 4 * 4}
    tokens["stage1"] = tokens["stage0_merging"]
    products = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(network.params):
        module = path[0].key
        if path[-1].key == "kernel":
            known = module if module in tokens else module.split("_")[0]
            products += 2 * tokens[known] * leaf.size
    assert products < aot.model_flops("embed", CONFIG) < 1.5 * products
