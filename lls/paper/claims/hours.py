"""The GPU-hours that claims still need."""

from collections.abc import Sequence
from pathlib import Path

from lls.paper.claims import JudgedClaim
from lls.paper.claims.evidence import in_output
from lls.paper.tables import cost
from lls.runs.planned import distinct_runs
from lls.runs.run import Run, teacher_run
from lls.training.schedule import make_schedule


def missing_hours(claims: Sequence[JudgedClaim], output: Path) -> list[float]:
    """Return the GPU-hours of each claim's runs under `output` that have not ended, with their teachers.

    The speed is that behind the paper's minutes (Table 9). Runs whose number of images is not known count as 0."""
    seconds: dict[tuple, float] = {}  # of an epoch; runs with the same key take equally long

    def hours(run: Run) -> float:
        teacher = teacher_run(run)
        key = cost.speed_key(run), teacher and cost.speed_key(teacher), "q" in run.cfg.method
        if key not in seconds:
            seconds[key] = cost.seconds_of_epoch(run, cost.PAPER_FLOPS_PER_SECOND) or 0.0
        return make_schedule(run.cfg.train, run.cfg.budget).epochs * seconds[key] / 3600

    def missing(judged: JudgedClaim) -> list[Run]:
        runs = distinct_runs(run for run in judged.needed if not run.ended)
        by_id = {run.id: in_output(output, run) for run in runs}  # a teacher can be one of the claim's runs
        return [run for run in by_id.values() if not run.ended]

    return [sum(map(hours, missing(judged))) for judged in claims]
