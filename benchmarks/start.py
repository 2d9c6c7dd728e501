"""How long a training takes to its first step: the first time, and after.

    python benchmarks/start.py [--config configs/shapes.py] [--runs 3]

Each pair begins with no compiled program and no data set kept; the second finds both.
Prints the seconds from the start of the process to the line of its first step.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def first_step(config: str, folder: Path, run: int) -> float:
    """Seconds to the first step of a training, which is then stopped."""
    command = [sys.executable, str(ROOT / "main.py"), "train", "--config", config]
    command += ["--workdir", str(folder / f"run{run}"), "--config.log_every=1"]
    command += [f"--config.data.data_dir={folder / 'records'}"]
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(folder)},
        cwd=ROOT,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("step 1/"):
            seconds = time.perf_counter() - start
            process.kill()
            process.wait()
            return seconds
    raise SystemExit("".join(said))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/shapes.py")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print("| first | second | second / first |\n|---:|---:|---:|")
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as name:
            first, second = (
                first_step(options.config, Path(name), run) for run in range(2)
            )
        print(f"| {first:.1f} | {second:.1f} | {second / first:.2f} |", flush=True)


if __name__ == "__main__":
    main()
