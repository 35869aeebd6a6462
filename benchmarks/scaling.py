"""What processes say to each other, over a loopback of limited speed: bytes and seconds a step, gather beside reduce.

    python benchmarks/scaling.py --mbit 200        # Linux with tc, as root or where user namespaces are allowed

Two and four gloo processes in a network namespace of their own, whose loopback passes so many megabits a second in all.
One step is the Barlow Twins loss of a batch with its gradient, an all-reduce of P gradients as DDP makes it, and a
pause in the place of the network's own work: on a machine with fewer cores than processes that work could not be
measured, and what stands beside it can. Bytes are those of the loopback, headers and acknowledgements included.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

CASES = ((256, 1024), (2048, 512))
"""Samples of all processes, and features: where gathering embeddings should win, and where adding up C should."""
PARAMETERS, STEPS = 500_000, 5
FORMS = {"gather": "gram", "reduce": "direct"}


def received() -> int:
    """Bytes that have come through the loopback of this namespace."""
    line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[0])


def expected(samples: int, features: int, form: str, world: int, parameters: int) -> float:
    """Bytes that each process sends a step, by docs/distributed.md."""
    share = (world - 1) / world
    statistics = 2 * 32 * features * share
    gather = (8 * samples + 16) * features * share
    matrix = gather if form == "gather" else 8 * features**2 * share
    return statistics + matrix + 8 * features * share + 8 * parameters * share


def work(samples: int, features: int, form: str, pause: float, parameters: int) -> None:
    """One process: take some steps, and let the first one print what they took."""
    import torch
    import torch.distributed as dist

    from barlow.methods.barlow_twins import barlow_twins_loss
    from barlow.statistics.collectives import all_mean, identity

    torch.set_num_threads(1)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world > 1:
        dist.init_process_group("gloo")
    generator = torch.Generator().manual_seed(rank)
    views = [torch.randn(samples // world, features, generator=generator, requires_grad=True) for _ in range(2)]
    gradients, kind = torch.randn(max(1, parameters)), FORMS[form]
    mean = all_mean if world > 1 else identity

    def step() -> None:
        time.sleep(pause)
        barlow_twins_loss(views[0], views[1], form=kind, all_mean=mean).total.backward()  # type: ignore[arg-type]
        if world > 1 and parameters:
            dist.all_reduce(gradients)

    step()
    if world > 1:
        dist.barrier()
    before, started = received(), time.perf_counter()
    for _ in range(STEPS):
        step()
    if world > 1:
        dist.barrier()
    seconds, sent = (time.perf_counter() - started) / STEPS, (received() - before) / STEPS / world
    if rank == 0:
        print(json.dumps({"seconds": seconds, "bytes": sent}))
    if world > 1:
        dist.destroy_process_group()


def steps(world: int, samples: int, features: int, form: str, pause: float, parameters: int) -> dict[str, float]:
    """Start the processes of one row."""
    command = [sys.executable, __file__, "--work", *map(str, (samples, features, form, pause, parameters))]
    about = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, **about, "RANK": str(rank), "WORLD_SIZE": str(world)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    said = [process.communicate()[0] for process in started]
    found: dict[str, float] = json.loads(said[0].splitlines()[-1])
    return found


def inside(mbit: int, pause: float) -> None:
    """In the namespace: limit the loopback, and print both tables."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if mbit:
        limit = ["tbf", "rate", f"{mbit}mbit", "burst", "256kb", "latency", "400ms"]
        subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", *limit], check=True)
    print(f"loopback of {mbit or 'unlimited'} Mbit/s for all processes together; {pause:g} s of work a step")
    print("\n| processes | N x D | form | MB sent a process | by the formulas | s a step | efficiency |\n"
          "|--:|---|---|--:|--:|--:|--:|")  # fmt: skip
    for samples, features in CASES:
        alone = steps(1, samples, features, "reduce", pause, PARAMETERS)
        for world in (2, 4):
            for form in FORMS:
                found = steps(world, samples, features, form, pause, PARAMETERS)
                said = expected(samples, features, form, world, PARAMETERS)
                print(f"| {world} | {samples} x {features} | {form} | {found['bytes'] / 1e6:.2f} | {said / 1e6:.2f} | "
                      f"{found['seconds']:.2f} | {alone['seconds'] / found['seconds']:.0%} |", flush=True)  # fmt: skip


def main() -> None:
    """Begin a namespace of our own, and measure there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mbit", type=int, default=200, help="of the loopback; 0: no limit")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a step without what processes say to each other")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.work:
        samples, features, form, pause, parameters = flags.work
        work(int(samples), int(features), form, float(pause), int(parameters))
    elif flags.inside:
        inside(flags.mbit, flags.seconds)
    else:
        again = [sys.executable, *sys.argv, "--inside"]
        sys.exit(subprocess.run(["unshare", "--net", "--map-root-user", *again], check=False).returncode)


if __name__ == "__main__":
    main()
