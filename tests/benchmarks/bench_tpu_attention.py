"""Compiles Swin-B for TPUs that need not be there, with XLA's window attention and the fused one.

    pip install 'mpjax[aot]'
    python tests/benchmarks/bench_tpu_attention.py [--topologies v5e:2x2 v6e:2x2] [--clips 8] ...

Prints XLA's own count of the bytes that each program accesses on each chip (HBM and vector memory
together), a loop's as often as it runs, and of its temporary memory. XLA cannot look into a Pallas
kernel: of the bytes, what is called declared is what our kernels state in their `pl.CostEstimate`,
every block that they move between HBM and VMEM counted each time. Both paths run the deep stage as
a loop, without which XLA's path of the train step has not been seen to compile to its end. Nothing
runs, so nothing here is a time but the compiler's.
"""

import argparse
import os
import time
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mpjax.models import swin
from mpjax.profiling import costs, hlo_work

CLIP = (32, 224, 224, 3)


def make_forward(config: swin.SwinConfig) -> Any:
    def forward(params: Any, clips: jax.Array) -> Any:
        outputs = swin.VideoSwin(config).apply({"params": params}, clips)
        return outputs.embedding, outputs.logits

    return jax.jit(forward)


def make_train_step(config: swin.SwinConfig, optimizer: Any) -> Any:
    def step(params: Any, moments: Any, clips: jax.Array, labels: jax.Array, key: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            outputs = swin.VideoSwin(config).apply(
                {"params": params}, clips, train=True, rngs={"drop_path": key}
            )
            return optax.softmax_cross_entropy_with_integer_labels(outputs.logits, labels).mean()

        gradient = jax.grad(loss)(params)
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments

    return jax.jit(step, donate_argnums=(0, 1))


def lower(program: str, config: swin.SwinConfig, mesh: Mesh, clips: int) -> Any:
    """Lowers a program, its clips spread over the mesh's axis "data", its parameters copied."""

    def abstract(tree: Any, spec: PartitionSpec) -> Any:
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
        )

    whole, spread = PartitionSpec(), PartitionSpec("data")
    key = jax.eval_shape(jax.random.key, 0)
    params = jax.eval_shape(lambda key: swin.init_params(config, key), key)
    batch = abstract(jax.ShapeDtypeStruct((clips, *CLIP), jnp.dtype(config.dtype)), spread)
    if program == "forward":
        return make_forward(config).lower(abstract(params, whole), batch)
    optimizer = optax.adamw(1e-4)
    moments = jax.eval_shape(optimizer.init, params)
    labels = abstract(jax.ShapeDtypeStruct((clips,), jnp.int32), spread)
    state = abstract((params, moments), whole)
    return make_train_step(config, optimizer).lower(*state, batch, labels, abstract(key, whole))


def measure(program: str, config: swin.SwinConfig, mesh: Mesh, clips: int) -> dict[str, float]:
    with jax.set_mesh(mesh):
        lowered = lower(program, config, mesh, clips)
        start = time.perf_counter()
        compiled = lowered.compile()
    seconds = time.perf_counter() - start
    cost = costs.measure(compiled, devices=mesh.size)
    return {
        "bytes": cost.bytes_accessed / 1e9,
        "declared": hlo_work.declared_work(compiled.as_text()).bytes_accessed / 1e9,
        "hbm": cost.hbm_bytes / 1e9,
        "temporary": cost.temporary / 1e9,
        "tflop": cost.flops / 1e12,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topologies", nargs="+", default=["v5e:2x2", "v6e:2x2"])
    parser.add_argument("--programs", nargs="+", default=["forward", "train"])
    parser.add_argument("--paths", nargs="+", default=["xla", "pallas"])
    parser.add_argument("--clips", type=int, default=8, help="over all chips")
    parser.add_argument("--depths", type=int, nargs=4, default=[2, 2, 18, 2], help="Swin-B's")
    flags = parser.parse_args()
    for topology in flags.topologies:
        devices = np.array(topologies.get_topology_desc(topology, "tpu").devices)
        mesh = Mesh(devices.reshape(-1, 1), ("data", "model"))
        for program in flags.programs:
            for path in flags.paths:
                config = swin.SwinConfig.base(
                    dtype="bfloat16", attention_impl=path, depths=tuple(flags.depths), scan=True
                )
                seen = measure(program, config, mesh, flags.clips)
                print(
                    f"{topology} ({devices.size} {devices[0].device_kind}), {program}, {path}: "
                    f"{seen['bytes']:.2f} GB accessed per chip, of which "
                    f"{seen['declared']:.2f} GB declared; {seen['hbm']:.2f} GB to and from HBM; "
                    f"{seen['temporary']:.2f} GB temporary; "
                    f"{seen['tflop']:.2f} TFLOP; compiled in {seen['seconds']:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
