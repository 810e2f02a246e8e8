"""Video Swin-T on this CPU against torchvision's, interleaved, in one run.

Run:   python tests/benchmarks/bench_swin.py [--compiled] [--tasks forward]
       (the peer needs: pip install torch==2.14.1 torchvision==0.29.1)
Task:  float32, a clip of 32 x 224 x 224; forward (embedding and logits), and forward + backward
       (gradients of all parameters). Both have the same shapes; the weights are random.
How:   each system in a process of its own, asked in turn; medians, and the median of the ratios of
       neighbouring rounds. --compiled adds torch.compile, which compiles for minutes. The peak is
       that of 2048^3 float32 products in JAX, asked in the same turns.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SHAPE = (1, 32, 224, 224, 3)
MULTIPLY_ADDS = 2 * 43.9e9  # published for 16 frames (SwinTransformer3d of torchvision), 32 here
TASKS = ("forward", "forward+backward")


def prepare_ours(attention_impl: str) -> dict[str, Callable[[], Any]]:
    import jax
    import jax.numpy as jnp

    from mpjax.models import swin

    config = swin.SwinConfig.tiny(attention_impl=form)
    model = swin.VideoSwin(config)
    params = jax.jit(swin.init_params, static_argnums=0)(config, jax.random.key(0))
    clips = jax.random.normal(jax.random.key(1), SHAPE)
    forward = jax.jit(lambda params, clips: model.apply({"params": params}, clips)[3:])
    backward = jax.jit(
        jax.grad(lambda params, clips: model.apply({"params": params}, clips).logits.sum())
    )
    square = jax.random.normal(jax.random.key(2), (2048, 2048))
    product = jax.jit(lambda a: jnp.dot(a, a, precision="highest"))
    return {
        "forward": lambda: jax.block_until_ready(forward(params, clips)),
        "forward+backward": lambda: jax.block_until_ready(backward(params, clips)),
        "peak": lambda: jax.block_until_ready(product(square)),
    }


def prepare_torchvision(*, compiled: bool) -> dict[str, Callable[[], Any]]:
    import torch
    from torchvision.models.video import swin3d_t

    torch.set_num_threads(os.cpu_count() or 1)
    model = swin3d_t(weights=None).eval()  # no dropped paths, as in ours
    if compiled:
        model = torch.compile(model)
    b, t, h, w, c = SHAPE
    clips = torch.randn(b, c, t, h, w)

    def forward() -> None:
        with torch.inference_mode():
            model(clips)

    def backward() -> None:
        model.zero_grad()
        model(clips).sum().backward()

    return {"forward": forward, "forward+backward": backward}


SYSTEMS: dict[str, Callable[[], dict[str, Callable[[], Any]]]] = {
    "mpjax": lambda: prepare_ours("auto"),
    "mpjax, plain form": lambda: prepare_ours("xla"),
    "torchvision": lambda: prepare_torchvision(compiled=False),
    "torchvision, torch.compile": lambda: prepare_torchvision(compiled=True),
}


def serve(system: str) -> None:
    """Runs the task named on each line of standard input; prints the seconds it took."""
    calls = SYSTEMS[system]()
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        calls[line.strip()]()
        print(time.perf_counter() - start, flush=True)


class Server:
    """A system in a process of its own."""

    def __init__(self, system: str):
        self._process = subprocess.Popen(
            [sys.executable, __file__, f"--serve={system}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._read()

    def seconds(self, task: str) -> float:
        self._process.stdin.write(f"{task}\n")
        self._process.stdin.flush()
        return float(self._read())

    def _read(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args[-1]}: it did not start")
        return line

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def compare(task: str, systems: list[str], rounds: int) -> None:
    print(f"{task}: compiling", file=sys.stderr, flush=True)
    servers = {system: Server(system) for system in systems}
    taken: dict[str, list[float]] = {system: [] for system in systems}
    for server in servers.values():
        server.seconds(task)  # compiles
    servers["mpjax"].seconds("peak")
    peaks = []
    for round_ in range(rounds):
        print(f"{task}: round {round_ + 1} of {rounds}", file=sys.stderr, flush=True)
        for system, server in servers.items():
            taken[system].append(server.seconds(task))
        peaks.append(2 * 2048**3 / servers["mpjax"].seconds("peak"))
    for server in servers.values():
        server.stop()
    peak = statistics.median(peaks)
    flop = 2 * MULTIPLY_ADDS * (1 if task == "forward" else 3)
    print(f"\n{task}, {'x'.join(map(str, SHAPE[:-1]))}, peak {peak / 1e9:.0f} GFLOP/s")
    for system in systems:
        seconds = statistics.median(taken[system])
        ratios = [a / b for a, b in zip(taken[system], taken["mpjax"], strict=True)]
        print(
            f"  {system:28s} {seconds:6.2f} s ({min(taken[system]):.2f} .. "
            f"{max(taken[system]):.2f})  {flop / seconds / 1e9:4.0f} GFLOP/s, "
            f"{flop / seconds / peak:4.0%} of the peak; mpjax is {statistics.median(ratios):.2f}x",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--serve")
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.serve)
    systems = [name for name in SYSTEMS if arguments.compiled or "compile" not in name]
    if importlib.util.find_spec("torchvision") is None:
        print("torchvision is not installed: `pip install torch torchvision` for the comparison")
        systems = [name for name in systems if "torchvision" not in name]
    print(f"{os.cpu_count()} cores, {arguments.rounds} interleaved rounds after a warm-up")
    for task in arguments.tasks:
        compare(task, systems, arguments.rounds)


if __name__ == "__main__":
    main()
