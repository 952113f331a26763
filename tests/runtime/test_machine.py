"""The number of usable cores, with control groups laid out in folders."""

import os

import pytest

from breedclf.runtime.machine import available_cores, cores_within, quotas


def lay_out(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


GROUPS = {
    "none": ({}, []),
    "v2-unlimited": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, []),
    "v2-1.5": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, [1.5]),
    "v2-nested": (
        {
            "proc/self/cgroup": "0::/pod/job\n",
            "sys/fs/cgroup/pod/job/cpu.max": "max 100000\n",
            "sys/fs/cgroup/pod/cpu.max": "400000 100000\n",
        },
        [4.0],
    ),
    "v2-outside": ({"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, [2.0]),
    "v1": (
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/a\n2:cpuset:/docker/a\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "800000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        [8.0],
    ),
    "v1-unlimited": (
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        [],
    ),
    "nonsense": ({"proc/self/cgroup": "x\n0\n", "sys/fs/cgroup/cpu.max": "1 0\n"}, []),
}


@pytest.mark.parametrize("name", GROUPS)
def test_quotas_of_a_container(tmp_path, name):
    files, expected = GROUPS[name]
    assert list(quotas(lay_out(tmp_path, files))) == expected


@pytest.mark.parametrize("bound", [1, 2, 4, 16, 32, 64, 96])
@pytest.mark.parametrize("quota", [None, 0.25, 1.0, 1.5, 7.9, 64.0])
def test_no_more_cores_than_the_machine_and_the_quota_have(bound, quota):
    cores = cores_within(bound, [] if quota is None else [quota])
    assert 1 <= cores <= bound
    assert quota is None or cores <= max(1, quota)
    assert cores == bound or (quota is not None and cores + 1 > quota)


def test_a_quota_limits_the_cores_of_the_affinity(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(32)), raising=False)
    assert available_cores(tmp_path) == 32
    files, _ = GROUPS["v2-nested"]
    assert available_cores(lay_out(tmp_path, files)) == 4
