"""The paper's tables as data: configs/table/N.yaml declares one, which is planned, run, rendered and checked."""

from lls.paper.tables.declaration import Cell, Column, Row, Table, load, names, runs_of
from lls.runs.planned import run_of

__all__ = ["Cell", "Column", "Row", "Table", "load", "names", "run_of", "runs_of"]
