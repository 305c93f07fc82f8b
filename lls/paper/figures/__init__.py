"""The figures of the paper, and others. configs/figure/N.yaml declares one as rows and columns of runs; a module here
draws it.

Matplotlib and torch are imported only when a figure is drawn, so that planning its runs stays fast.
"""

from lls.paper.figures.declaration import Figure, Panel, files_of, load, missing_reason, names, paper_names, runs_of
from lls.paper.figures.draw import draw, lost_runs, paths_of

__all__ = [
    "Figure",
    "Panel",
    "draw",
    "files_of",
    "load",
    "lost_runs",
    "missing_reason",
    "names",
    "paper_names",
    "paths_of",
    "runs_of",
]
