"""The paper's tables. configs/table/NAME.yaml declares one; modules here plan, time, render and check it."""

from lls.paper.tables.declaration import Cell, Column, Row, Table, load, runs_of
from lls.paper.tables.yaml_files import names
from lls.runs.planned import run_of

__all__ = ["Cell", "Column", "Row", "Table", "load", "names", "run_of", "runs_of"]
