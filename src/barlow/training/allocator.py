"""Keep freed memory: a training step on a CPU asks for the same large tensors again and again.

glibc maps blocks above a few MB from the system and returns them as soon as they are free, so every activation of
every step is made of pages that the kernel has to find and clear anew: 80,000 page faults in one step of a ResNet-18
of width 16 at batch 256, a fifth of its time (`benchmarks/pretraining.py`).
"""

import ctypes

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
"""Numbers of the options in glibc's malloc.h."""
LARGEST_MMAP_THRESHOLD = 2**25
"""Bytes; glibc refuses more on 64-bit machines (DEFAULT_MMAP_THRESHOLD_MAX)."""
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, blocks of up to 32 MB, for its next use.

    Holds for the whole process until it ends; its peak memory stays what it was. Does nothing where the C library
    is not glibc (macOS, Windows, Alpine).

    Returns:
        Whether the C library took it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, or no such library
        return False
    took = (mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD), mallopt(M_TRIM_THRESHOLD, NEVER))
    return took == (1, 1)
