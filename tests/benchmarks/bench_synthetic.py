"""Times the synthetic cohort's generator on one core, H.264 encoding included.

Run:   python tests/benchmarks/bench_synthetic.py
Aim:   at least 150 frames/s/core at 128 px.
"""

import tempfile
import time

from data_prep import synthetic
from mpjax.config import SyntheticConfig

CONFIG = SyntheticConfig(animals_per_condition=2, animals_per_arm=0, size=128)


def main() -> None:
    rates = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            synthetic.generate(folder, CONFIG, workers=1)
            seconds = time.perf_counter() - start
        recordings = 3 * CONFIG.animals_per_condition * len(CONFIG.days)
        rates.append(recordings * CONFIG.seconds * CONFIG.fps / seconds)
    print(f"{sorted(rates)[1]:.0f} frames/s on one core ({min(rates):.0f} .. {max(rates):.0f})")


if __name__ == "__main__":
    main()
