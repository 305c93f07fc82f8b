"""The runs and GPU-hours that claims still need."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lls.paper.claims import JudgedClaim
from lls.paper.claims.evidence import in_output
from lls.paper.tables import cost
from lls.runs.planned import distinct_runs
from lls.runs.run import Run, teacher_run
from lls.training.schedule import make_schedule


def missing_runs(judged: JudgedClaim, output: Path) -> list[Run]:
    """Return the runs of a claim under `output` that have not ended, each after its teachers.

    Runs that have ended without what the claim needs are not among them."""
    runs = distinct_runs(run for run in judged.unmeasured if not run.ended)
    by_id = {run.id: in_output(output, run) for run in runs}  # a teacher can be one of the claim's runs
    return [run for run in by_id.values() if not run.ended]


def missing_hours(claims: Sequence[JudgedClaim], output: Path) -> list[float]:
    """Return the GPU-hours of each claim's `missing_runs`."""
    missing = [missing_runs(judged, output) for judged in claims]
    hours = gpu_hours(run for runs in missing for run in runs)
    return [sum(hours[run.id] for run in runs) for runs in missing]


def gpu_hours(runs: Iterable[Run]) -> dict[str, float]:
    """Return the GPU-hours of each run, by its id, at the speed behind the paper's minutes (Table 9).

    A run whose number of images is not known has 0."""
    seconds: dict[tuple, float] = {}  # of an epoch; runs with the same key take equally long

    def hours(run: Run) -> float:
        teacher = teacher_run(run)
        key = cost.speed_key(run), teacher and cost.speed_key(teacher), "q" in run.cfg.method
        if key not in seconds:
            seconds[key] = cost.seconds_of_epoch(run, cost.PAPER_FLOPS_PER_SECOND) or 0.0
        return make_schedule(run.cfg.train, run.cfg.budget).epochs * seconds[key] / 3600

    return {run.id: hours(run) for run in runs}
