"""The paper's tables as data: configs/table/N.yaml declares one, which is planned, run, rendered and checked."""

from lls.planned import run_of
from lls.tables.declaration import Cell, Column, Row, Table, load, names, runs_of

__all__ = ["Cell", "Column", "Row", "Table", "load", "names", "run_of", "runs_of"]
