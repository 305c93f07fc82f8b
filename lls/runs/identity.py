"""The id of a run: a readable name and a hash of everything that decides its result."""

import hashlib
import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from lls.config.assemble import round_float


def identity(cfg: DictConfig) -> str:
    """Return the id of a configuration's run: `<dataset>-<network>-<method>-s<seed>-<8 hex>`.

    The hash is over the resolved configuration without `machine`, with sorted keys and nulls dropped. So a new
    key whose default is null does not change the ids of older runs. Numbers are floats of 12 significant digits."""
    hashed = OmegaConf.to_container(cfg, resolve=True)
    hashed.pop("machine")
    if hashed["dataset"].get("root") is not None:  # the same folder has one spelling
        hashed["dataset"]["root"] = str(Path(str(hashed["dataset"]["root"])).expanduser().resolve())
    digest = hashlib.sha256(json.dumps(_canonical(hashed), sort_keys=True).encode()).hexdigest()
    return f"{cfg.dataset.name}-{cfg.network.name}-{cfg.method.name}-s{cfg.seed}-{digest[:8]}"


def _canonical(value: object) -> object:
    if isinstance(value, dict):
        return {key: _canonical(v) for key, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_canonical(v) for v in value]
    return round_float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
