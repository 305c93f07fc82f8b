"""Weights & Biases: how a W&B run is started. It mirrors files, and no trouble of its own costs more than a line."""

import os
from pathlib import Path

from lls.errors import one_line


def start(output: Path, mode: str, purpose: str, **keys):
    """Start a W&B run.

    output: the output folder, below which W&B keeps its caches; it would fill the home folder.
    mode: online, offline or disabled. Without a key or a network, online becomes offline.
    purpose: what the W&B run is for, as in "for this run"; printed where W&B fails.
    keys: further arguments of wandb.init.
    Returns the W&B run; None if W&B is disabled or fails.
    """
    if mode == "disabled":
        return None
    home = (output / "wandb").resolve()
    for variable, folder in (("WANDB_CACHE_DIR", "cache"), ("WANDB_DATA_DIR", "data")):
        os.environ.setdefault(variable, str(home / folder))
    try:
        import wandb

        settings = wandb.Settings(silent=True, console="off", init_timeout=10)
    except Exception as error:
        print(f"W&B is not used, {purpose} ({one_line(error, 100)})", flush=True)
        return None
    modes = ["online", "offline"] if mode == "online" else ["offline"]
    for tried in modes:
        try:
            wandb.setup(settings)
            if tried == "online":
                require_key()
            return wandb.init(mode=tried, resume="allow", settings=settings, **keys)
        except Exception as error:
            wandb.teardown()  # a failed start still holds the id of the W&B run
            instead = "offline, `wandb sync` sends it later" if tried != modes[-1] else "not used"
            print(f"W&B is {instead}, {purpose} ({one_line(error, 100)})", flush=True)
    return None


def require_key() -> None:
    """Raise wandb's UsageError if no API key is known."""
    import wandb

    if not wandb.login(prompt=False):
        raise wandb.errors.UsageError("no API key: run `wandb login`")
