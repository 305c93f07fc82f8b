"""Runs from overrides, hundreds at a time: each configuration is composed once, and kept in outputs/cache until a yaml
or the code that composes changes.
"""

import hashlib
import json
import pickle
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from omegaconf import OmegaConf

from lls.config import assemble as composition
from lls.config import compose as config
from lls.config import ranges
from lls.config.assemble import CONFIGS, GROUPS
from lls.config.compose import compose
from lls.files import write_whole
from lls.runs import run as runs
from lls.runs.run import Run, needs

FOLDER = Path("outputs/cache")


def run_of(overrides: Sequence[str]) -> Run:
    """The run that `python train.py *overrides` trains; the same object for the same overrides. Raises UserError where
    that would refuse."""
    return _run(tuple(overrides))


def teacher_of(run: Run) -> Run | None:
    """The run that has to be finished before `run`: as lls.runs.run.needs, which finds it composed from then on."""
    if run.teacher is None:
        run.teacher = _teacher(run)
    return run.teacher


def distinct(wanted: Iterable[Run]) -> list[Run]:
    """Each run once, in the order of its first appearance, its teachers before it."""
    found: dict[Path, Run] = {}

    def add(run: Run) -> None:
        if run.folder not in found:
            if teacher := teacher_of(run):
                add(teacher)
            found.setdefault(run.folder, run)

    for run in wanted:
        add(run)
    return list(found.values())


def keep() -> None:
    """Write what was composed since the last time to the cache."""
    known = _known()
    if len(known) > known.on_disk:
        path, text = _path(), json.dumps({**_read(_path()), **known})
        try:
            for old in FOLDER.glob("configs-*.json"):
                if old != path:
                    old.unlink(missing_ok=True)
            write_whole(path, lambda temporary: temporary.write_text(text))
        except OSError:
            return  # a folder that can't be written costs some seconds the next time, no more
        known.on_disk = len(known)


class _Known(dict):
    """Overrides as JSON, or a student's id and machine -> resolved configuration, or None for no teacher."""

    on_disk = 0


@cache
def _known() -> _Known:
    known = _Known(_read(_path()))
    known.on_disk = len(known)
    return known


@cache
def _path() -> Path:
    """Its name changes with everything that decides what is composed."""
    digest = hashlib.sha256(version("hydra-core").encode() + version("omegaconf").encode())
    yamls = [CONFIGS / "train.yaml", *(path for group in GROUPS for path in CONFIGS.glob(f"{group}/*.yaml"))]
    for path in [*sorted(yamls), *(Path(module.__file__) for module in (composition, config, ranges, runs))]:
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return FOLDER / f"configs-{digest.hexdigest()[:12]}.json"


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):  # none yet, or broken: composed again
        return {}


@cache
def _run(overrides: tuple[str, ...]) -> Run:
    key = json.dumps(overrides)
    if key in _known():
        return _from(_known()[key])
    *others, last = overrides or ("",)
    if re.fullmatch(r"seed=\d{1,18}", last):
        cfg = pickle.loads(_composed(tuple(others)))
        cfg.seed = int(last.removeprefix("seed="))
    else:
        cfg = compose(overrides)
    OmegaConf.resolve(cfg)
    _known()[key] = OmegaConf.to_container(cfg)
    return Run(cfg)


@cache
def _composed(overrides: tuple[str, ...]) -> bytes:
    """Pickled, for all seeds: their number is the last of many runs' overrides."""
    return pickle.dumps(compose(overrides))


@cache
def _teacher(run: Run) -> Run | None:
    if "teacher" not in run.cfg.method:
        return None
    key = json.dumps([run.id, OmegaConf.to_container(run.cfg.machine), run.cfg.method.get("q")])
    if key not in _known():
        teacher = needs(run)
        _known()[key] = None if teacher is None else OmegaConf.to_container(teacher.cfg, resolve=True)
    plain = _known()[key]
    return None if plain is None else _from(plain)


def _from(plain: dict) -> Run:
    cfg = OmegaConf.create(plain)
    OmegaConf.set_struct(cfg, True)
    return Run(cfg)
