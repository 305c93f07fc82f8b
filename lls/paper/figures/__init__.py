"""The paper's figures, each declared in configs/figure/N.yaml as rows x columns of runs and drawn by one module here.

A panel shows a finished run or says what is lacking. Matplotlib and torch are imported when something is drawn, so that
the runs of a figure can be planned without them.
"""

from lls.paper.figures.declaration import Figure, Panel, files_of, load, missing_reason, names, runs_of
from lls.paper.figures.draw import draw

__all__ = ["Figure", "Panel", "draw", "files_of", "load", "missing_reason", "names", "runs_of"]
