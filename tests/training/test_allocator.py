"""Large tensors that come and go every step cost no page faults after the first."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import sys
import torch
from barlow.training.allocator import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
network = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU()) for _ in range(10)])
def step():
    network(torch.ones(2**14, 64)).sum().backward()  # activations of 4 MB, 1,024 pages each
for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_used_again() -> None:
    def faults(mode: str) -> int:
        return int(subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, check=True).stdout)

    kept = min(faults("keep") for _ in range(3))  # a machine short of memory takes pages back, which adds faults
    assert 5 * kept < faults("return")
