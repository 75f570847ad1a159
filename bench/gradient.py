"""Where the time of a mini-batch gradient goes, and how fast its matrix products are.

    python bench/gradient.py [--network transformer-4-64] [--device cpu] [--walkers 1]

Prints a Markdown table: share of the time and calls of each kind of operation, and the rate of the matrix products over
that of products of 1 024 x 1 024 in the same process. Operations are timed by torch's profiler, which adds to each.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from protmpi.bench import timings
from protmpi.sections import PUBLISHED_NETWORKS

PASSES = 10
KINDS = {
    "matrix products": ("bmm", "baddbmm", "baddbmm_", "mm", "addmm"),
    "softmax": ("_softmax", "_softmax_backward_data", "_log_softmax"),
    "layer norm": ("native_layer_norm_backward", "rsqrt_", "mean"),
    "choice of rows": ("index_select", "gather", "index_add_", "_index_put_impl_", "index"),
    "sums over rows": ("sum",),
}


def kind_of(name: str) -> str:
    """The kind of an operation `aten::name`."""
    short = name.removeprefix("aten::")
    return next((kind for kind, names in KINDS.items() if short in names), "elementwise and the rest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", choices=list(PUBLISHED_NETWORKS), default="transformer-4-64")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--walkers", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = timings.task_of(asked.network, timings.synthetic_data(), asked.device)
    w, random = timings.weights(task, asked.walkers, asked.device), np.random.default_rng(2)
    batches = random.integers(task.train_size, size=(PASSES + 1, asked.walkers, timings.BATCH))
    flop = timings.gradient(task, asked.walkers, asked.device).flop
    rate = timings.matrix_rate(asked.device)
    task.gradient(w, batches[-1])
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if w.is_cuda else [])]
    with profile(activities=activities) as watched:
        for indices in batches[:-1]:
            task.gradient(w, indices)
        if w.is_cuda:
            torch.cuda.synchronize()
    seconds: dict[str, float] = {}
    calls: dict[str, int] = {}
    for event in watched.key_averages():
        if event.key.startswith("aten::") and event.device_type == DeviceType.CPU:
            kind = kind_of(event.key)
            own = event.self_device_time_total if w.is_cuda else event.self_cpu_time_total
            seconds[kind] = seconds.get(kind, 0.0) + own * 1e-6 / PASSES
            calls[kind] = calls.get(kind, 0) + event.count // PASSES
    total = sum(seconds.values())
    print(f"{asked.network}, {asked.walkers} walkers, {asked.device}: {1e3 * total:.3g} ms, {flop / 1e9:.3g} GFLOP in "
          f"matrix products, whose rate is {100 * flop / seconds['matrix products'] / rate:.0f} % of {rate / 1e9:,.0f} "
          "GFLOP/s\n\n| operations | share | calls |\n|---|---|---|")  # fmt: skip
    for kind in sorted(seconds, key=lambda name: -seconds[name]):
        print(f"| {kind} | {100 * seconds[kind] / total:.0f} % | {calls[kind]} |")


if __name__ == "__main__":
    main()
