"""Show the progress of a run: a progress bar on a terminal, otherwise one line per epoch."""

import os
import sys
import time

from tqdm import tqdm


class _Bar(tqdm):
    """A tqdm bar that counts training steps and shows the rate in images per second."""

    batch_size = 1

    @property
    def format_dict(self) -> dict:
        values = super().format_dict
        steps_per_second = values["rate"] or (values["n"] - values["initial"]) / max(values["elapsed"], 1e-9)
        return {**values, "images": f"{steps_per_second * self.batch_size:,.0f} images/s"}


class Progress:
    """Progress over all epochs of a run. A context manager, which closes the bar.

    steps: the steps of an epoch; epochs_done: the epochs that were done when a resumed run starts."""

    def __init__(self, epochs: int, steps: int, batch_size: int, epochs_done: int):
        self.epochs, self.epochs_done, self.started = epochs, epochs_done, time.monotonic()
        self.bar = _Bar(
            total=epochs * steps,
            initial=epochs_done * steps,
            disable=not sys.stderr.isatty() or os.get_terminal_size(sys.stderr.fileno()).columns == 0,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| step {n_fmt}/{total_fmt}, {images}, {remaining} left{postfix}",
        )
        self.bar.batch_size = batch_size
        self.bar.set_description_str(f"epoch {epochs_done + 1}/{epochs}", refresh=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def step(self) -> None:
        """Count one training step."""
        self.bar.update()

    def epoch(self, row: dict) -> None:
        """Show the row of a finished epoch."""
        epoch = row["epoch"]
        if not self.bar.disable:
            self.bar.set_description_str(f"epoch {min(epoch + 1, self.epochs)}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {row['loss']:.4f}, top-1 {row['top1']:.2f} %")
            return
        seconds_per_epoch = (time.monotonic() - self.started) / (epoch - self.epochs_done)
        remaining = tqdm.format_interval(seconds_per_epoch * (self.epochs - epoch))
        print(
            f"epoch {epoch}/{self.epochs}  lr {row['lr']:.4g}  loss {row['loss']:.4f}  top-1 {row['top1']:.2f} %  "
            f"nll {row['nll']:.4f}  {row['images_per_second']:,.0f} images/s  {remaining} left",
            flush=True,
        )
