"""The limit of memory: sizes, control groups, refusals."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from codec_zoo import memory
from codec_zoo.errors import BitstreamError, MemoryLimitError, UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 * 2**30),
        ("1.5GiB", 3 * 2**29),
        ("800M", 800 * 2**20),
        ("800 mb", 800 * 10**6),
        ("2t", 2**41),
        (".5K", 512),
        ("7B", 7),
    ],
)
def test_sizes(text, size):
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "4", "G", "-4G", "4Q", "4GG", "iB", "4iB", "0G", "nan", "inf", "1e3M", "4,5G"])
def test_other_texts_are_no_sizes(text):
    with pytest.raises(UsageError, match="number with a unit"):
        memory.parse_size(text)


def test_the_environment_sets_the_limit(monkeypatch):
    monkeypatch.setenv(memory.VARIABLE, "1.5G")
    assert memory.limit() == 3 * 2**29
    memory.set_limit("2G")
    assert memory.limit() == 2**31
    monkeypatch.setenv(memory.VARIABLE, "much")
    with pytest.raises(UsageError, match=r"CODEC_ZOO_MEMORY.*much"):
        memory.limit()


def test_without_a_setting_the_machine_does(monkeypatch):
    monkeypatch.delenv(memory.VARIABLE, raising=False)
    assert memory.limit() == int(0.75 * memory.machine_memory())


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1048576\n"},
        {
            "proc/self/cgroup": "0::/user/shell\n",
            "sys/fs/cgroup/user/shell/memory.max": "max\n",
            "sys/fs/cgroup/user/memory.max": "1048576\n",
        },
        {
            "proc/self/cgroup": "9:cpu,cpuacct:/a\n5:memory:/docker/b:c\n0::/docker/b:c\n",
            "sys/fs/cgroup/memory/docker/b:c/memory.limit_in_bytes": "1048576\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
        # In a container without a namespace of its own: its group is the root.
        {
            "proc/self/cgroup": "5:memory:/docker/b\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1048576\n",
        },
    ],
    ids=["version 2", "version 2, a group above", "version 1", "version 1, seen from inside"],
)
def test_control_groups_lower_the_limit(tmp_path, files):
    write(tmp_path, files)
    assert memory.machine_memory(tmp_path) == 2**20


def test_without_control_groups_the_physical_memory_counts(tmp_path):
    physical = memory.machine_memory(tmp_path)
    assert physical > 2**28
    write(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"})
    assert memory.machine_memory(tmp_path) == physical


def test_more_than_the_limit_is_refused(monkeypatch):
    monkeypatch.setenv(memory.VARIABLE, "1G")
    memory.check(2**30, "coding", "")
    with pytest.raises(MemoryLimitError) as raised:
        memory.check(3 * 2**29, "coding a.png", "Raise the limit: --memory SIZE.")
    assert str(raised.value) == (
        "coding a.png needs about 1.50 GiB of memory, and the limit is 1.00 GiB. Raise the limit: --memory SIZE."
    )
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    with pytest.raises(BitstreamError, match="Fetch the file again"):
        memory.check(2**31, "decoding", "Fetch the file again.", BitstreamError)


def test_the_peak_is_of_this_process_alone():
    ballast = np.ones(400 << 20, np.uint8)
    code = "from codec_zoo import memory; own = memory.peak(); more = b'1' * (100 << 20); print(own, memory.peak())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own, grown = map(int, done.stdout.split())
    assert own < ballast.nbytes and 90 << 20 < grown - own < 150 << 20
