"""Checkpoints that are written while training goes on."""

import copy
import threading

import pytest
import torch

from lls.training.checkpoint import Saver


class SlowFile:
    """Keeps the states that are written to it. Writing waits for `proceed`, and the third state finds no space."""

    def __init__(self):
        self.states, self.proceed = [], threading.Event()

    def write(self, state):
        assert self.proceed.wait(5)
        self.states.append(copy.deepcopy(state))
        if len(self.states) == 3:
            raise OSError("disk full")


def test_on_a_gpu_states_are_written_as_they_were_while_training_goes_on():
    file, weights = SlowFile(), torch.zeros(3)
    with Saver(file.write, torch.device("cuda")) as saver:
        for number in (1, 2):
            weights += 1
            saver.save({"network": {"w": weights}, "rows": [{"epoch": number}]})
            weights += 10  # the next step, before the state is written
            assert len(file.states) < number
            file.proceed.set()
            saver.thread.join()
            file.proceed.clear()
        file.proceed.set()
        saver.save({"network": {"w": weights}})
        with pytest.raises(OSError, match="disk full"):
            saver.wait()
    assert [state["network"]["w"][0].item() for state in file.states] == [1, 12, 22]
    assert [state["rows"][0]["epoch"] for state in file.states[:2]] == [1, 2]


def test_an_error_of_the_checkpoint_does_not_hide_the_one_that_ended_training():

    def fail(state):
        raise RuntimeError("unexpected")

    def interrupted_training():
        with Saver(fail, torch.device("cuda")) as saver:
            saver.save({})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_training()


def test_on_a_cpu_states_are_written_at_once():
    file = SlowFile()
    file.proceed.set()
    with Saver(file.write, torch.device("cpu")) as saver:
        saver.save({"rows": []})
        assert file.states == [{"rows": []}]
