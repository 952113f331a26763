"""Properties of instance types: the number of GPUs, and whether the disk is local."""

from __future__ import annotations

import re

# Sizes with several GPUs; all other sizes of families g* and p* have one.
_GPUS = {
    "p2.8xlarge": 8,
    "p2.16xlarge": 16,
    "p3.8xlarge": 4,
    "p3.16xlarge": 8,
    "p3dn.24xlarge": 8,
    "p4d.24xlarge": 8,
    "p4de.24xlarge": 8,
    "p5.48xlarge": 8,
    "p5e.48xlarge": 8,
    "p5en.48xlarge": 8,
    "p6-b200.48xlarge": 8,
    "p6-b300.48xlarge": 8,
    "p6e-gb200.36xlarge": 4,
    "g4dn.12xlarge": 4,
    "g5.12xlarge": 4,
    "g5.24xlarge": 4,
    "g5.48xlarge": 8,
    "g6.12xlarge": 4,
    "g6.24xlarge": 4,
    "g6.48xlarge": 8,
    "g6e.12xlarge": 4,
    "g6e.24xlarge": 4,
    "g6e.48xlarge": 8,
    "g7.12xlarge": 2,
    "g7.24xlarge": 4,
    "g7.48xlarge": 8,
    "g7e.12xlarge": 2,
    "g7e.24xlarge": 4,
    "g7e.48xlarge": 8,
}
_CPU_IMAGE = re.compile(r"[:\-/]cpu(-|$)")
_LOCAL_DISK = re.compile(r"ml\.(g4dn|g5|g6|g6e|g7|g7e|p3dn|p4d|p4de|p5|p5e|p5en|p6.*|[cmr]\d+[a-z]*d[a-z]*)\.")


def gpus_of(instance_type: str) -> int:
    """The number of GPUs of an instance type.

    Example:
        >>> [gpus_of(name) for name in ("ml.m5.xlarge", "ml.g4dn.xlarge", "ml.g5.12xlarge")]
        [0, 1, 4]
    """
    name = instance_type.removeprefix("ml.")
    return _GPUS.get(name, 1 if name[0] in "gp" and not name.startswith("g5g.") else 0)


def is_cpu_image(image: str) -> bool:
    """Whether an image supports only CPUs, by its name.

    Example:
        >>> is_cpu_image("763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.14-cpu-amzn2023-sagemaker")
        True
    """
    return _CPU_IMAGE.search(image) is not None


def has_local_disk(instance_type: str) -> bool:
    """Whether the disk is local to the machine; AWS encrypts it with its own key and rejects others.

    Example:
        >>> [has_local_disk(name) for name in ("ml.m5.xlarge", "ml.m5d.xlarge", "ml.g4dn.xlarge")]
        [False, True, True]
    """
    return _LOCAL_DISK.match(instance_type) is not None
