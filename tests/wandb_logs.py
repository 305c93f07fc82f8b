"""What W&B's files hold, by the reader that comes with W&B."""

import json
import subprocess
import sys


def wandb_folder(folder, run_id="*"):
    """Return the folder of the only offline W&B run with this id in `folder`."""
    (log_folder,) = (folder / "wandb").glob(f"offline-run-*-{run_id}")
    return log_folder


def read_wandb(folder, *options):
    """Return the records of the W&B run in a folder, one in each line; with "--summary", its summary."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def records(folder):
    """Return the records of the W&B run in a folder, by kind, such as run or history."""
    by_kind = {}
    for record in map(json.loads, read_wandb(folder).splitlines()):
        by_kind.setdefault(record["type"], []).append(record[record["type"]])
    return by_kind


def read_tables(folder):
    """Return the W&B Tables of the W&B run in a folder, by their keys."""
    paths = sorted(folder.glob("files/media/table/*.json"))
    return {path.name.rsplit("_", 2)[0]: json.loads(path.read_text()) for path in paths}
