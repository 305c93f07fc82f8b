"""Every run in a small form: tables and figures end to end in minutes on a CPU (`SMOKE=1`).

A data set becomes a few generated images a class under its own name and class names, a network a narrow one of its kind,
the schedule two epochs. Nothing that comes out of it means anything, and everything lies under outputs/smoke.
"""


def overrides(said: dict[str, str]) -> dict[str, str]:
    """The overrides of a run's small form."""
    return said
