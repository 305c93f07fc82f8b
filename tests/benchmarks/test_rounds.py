"""Competitors take fair turns, and disturbed rounds are repeated."""

import time

import pytest

from benchmarks.rounds import CPULoad, alternate, background_load, read_cpu_load


def test_turns_alternate_and_ratios_are_of_one_round():
    done, now = [], [0.0]

    def takes(name, seconds):
        def work():
            done.append(name)
            now[0] += seconds * (1 + len(done))  # a machine that becomes slower and slower

        return work

    work = {"a": takes("a", 1), "b": takes("b", 2)}
    times = alternate(work, 4, clock=lambda: now[0], read_load=lambda: None)
    assert done == list("abbaabbaab")
    assert [len(values) for values in times.seconds.values()] == [4, 4]
    assert times.ratio("b", "a").median == pytest.approx(2, rel=0.2)
    assert times.of("b").high > times.of("b").low
    assert times.disturbed() == ""


@pytest.mark.parametrize(
    ("disturbed", "repeated", "accepted"),
    [([0, 2], 1, 0), ([], 0, 0), (range(1, 100), 6, 3)],
    ids=["one", "none", "all"],
)
def test_disturbed_rounds_are_repeated(disturbed, repeated, accepted):
    """The warm-up is round 0. When all rounds are disturbed, there are three times as many, and the last ones count."""
    readings = []

    def read_load():
        """Two readings a round, a second apart. In a disturbed round, others use a whole core."""
        number, after = divmod(len(readings), 2)
        busy = readings[-1].busy if readings else 0.0
        readings.append(CPULoad(len(readings), busy + (after and number in disturbed), 0.0))
        return readings[-1]

    times = alternate({"a": lambda: None}, 3, read_load=read_load)
    assert (len(times.seconds["a"]), times.repeated, times.accepted) == (3, repeated, accepted)


@pytest.mark.skipif(read_cpu_load() is None, reason="only Linux reports the CPU time of other processes")
def test_work_of_this_process_is_not_background_load():
    before, end = read_cpu_load(), time.process_time() + 0.3
    while time.process_time() < end:
        pass
    after = read_cpu_load()
    assert 0.2 <= after.this_process - before.this_process <= after.busy - before.busy + 0.05
    assert after.wall - before.wall >= 0.3


def test_background_load_is_the_work_of_other_processes():
    before, after = CPULoad(wall=10, busy=100, this_process=50), CPULoad(wall=12, busy=105, this_process=53)
    assert background_load(before, after) == 1.0
    assert background_load(None, None) == 0.0
