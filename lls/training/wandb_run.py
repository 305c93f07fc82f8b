"""Start a run of Weights & Biases (W&B). W&B mirrors files; if it fails, a line is printed and training goes on."""

import os
from pathlib import Path

from lls.errors import one_line


def start(output: Path, mode: str, purpose: str, **kwargs):
    """Start a W&B run.

    - output: the output folder. W&B puts its caches into it instead of the home folder.
    - mode: online, offline or disabled. Without an API key or a network, online becomes offline.
    - purpose: what the W&B run is for, such as "for this run". The line that is printed when W&B fails has it.
    - kwargs: further arguments of wandb.init

    Returns the W&B run, or None if W&B is disabled or fails.
    """
    if mode == "disabled":
        return None
    caches = (output / "wandb").resolve()
    for variable, folder in (("WANDB_CACHE_DIR", "cache"), ("WANDB_DATA_DIR", "data")):
        os.environ.setdefault(variable, str(caches / folder))
    try:
        import wandb

        settings = wandb.Settings(silent=True, console="off", init_timeout=10)
    except Exception as error:
        print(f"W&B is not used, {purpose} ({one_line(error, 100)})", flush=True)
        return None
    modes = ["online", "offline"] if mode == "online" else ["offline"]
    for next_mode in modes:
        try:
            wandb.setup(settings)
            if next_mode == "online":
                require_key()
            return wandb.init(mode=next_mode, resume="allow", settings=settings, **kwargs)
        except Exception as error:
            wandb.teardown()  # A failed start still holds the id of the W&B run.
            fallback = "offline, `wandb sync` sends it later" if next_mode != modes[-1] else "not used"
            print(f"W&B is {fallback}, {purpose} ({one_line(error, 100)})", flush=True)
    return None


def require_key() -> None:
    """Raise wandb.errors.UsageError if W&B has no API key."""
    import wandb

    if not wandb.login(prompt=False):
        raise wandb.errors.UsageError("no API key: run `wandb login`")
