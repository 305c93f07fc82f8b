"""outputs/queue.txt: the runs that are to be trained next."""

from paths import ROOT
from results import compose_run

from lls.runs.run import teacher_run


def test_each_line_of_the_queue_is_a_distinct_run_at_the_full_protocol():
    lines = (ROOT / "outputs" / "queue.txt").read_text().splitlines()
    runs = [compose_run(*line.split()) for line in lines if line and not line.startswith("#")]
    assert len({run.id for run in runs}) == len(runs)
    assert {run.cfg.budget for run in runs} == {1}
    positions = {run.id: position for position, run in enumerate(runs)}
    for run in runs:
        if teacher := teacher_run(run):
            assert positions[teacher.id] < positions[run.id]
