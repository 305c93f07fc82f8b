"""The slots of a machine: its cores, its NVIDIA GPUs or its Apple GPU."""

import os

import pytest

from lls.config.compose import compose
from lls.launch.slots import Slot, slots_for
from lls.runs.run import Run


def gpus_of(slots):
    return [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots]


@pytest.fixture
def cores():
    return len(os.sched_getaffinity(0))


def test_slots(overrides, cores, monkeypatch):
    runs = [Run(compose(overrides))]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [slot.threads for slot in slots_for(runs, None)] == [1] * cores
    assert [slot.threads for slot in slots_for(runs, 1)] == [cores]
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    assert [slot.threads for slot in slots_for(runs, None)] == [cores]

    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    gpu_runs = [Run(compose([*overrides, "machine.device=auto"]))]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert gpus_of(slots_for(gpu_runs, 2)) == ["5", "7", "5", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus_of(slots_for(gpu_runs, None)) == ["0", "1"]
    assert slots_for(runs, 1)[0].environment == {}

    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert slots_for(gpu_runs, None) == [Slot(cores, {})]
