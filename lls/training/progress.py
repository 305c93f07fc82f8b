"""What a person sees while a run trains: a bar on a terminal, one plain line an epoch elsewhere."""

import os
import sys
import time

from tqdm import tqdm


class _Bar(tqdm):
    """tqdm, which counts steps, with the rate in images."""

    batch_size = 1

    @property
    def format_dict(self) -> dict:
        known = super().format_dict
        steps = known["rate"] or (known["n"] - known["initial"]) / max(known["elapsed"], 1e-9)
        return {**known, "images": f"{steps * self.batch_size:,.0f} images/s"}


class Progress:
    """Progress over all epochs of a run; a context manager. `first`: epochs already done when it starts."""

    def __init__(self, epochs: int, steps: int, batch_size: int, first: int):
        self.epochs, self.steps, self.first, self.started = epochs, steps, first, time.monotonic()
        self.bar = _Bar(
            total=epochs * steps,
            initial=first * steps,
            disable=not sys.stderr.isatty() or os.get_terminal_size(sys.stderr.fileno()).columns == 0,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| step {n_fmt}/{total_fmt}, {images}, {remaining} left{postfix}",
        )
        self.bar.batch_size = batch_size
        self.bar.set_description_str(f"epoch {first + 1}/{epochs}", refresh=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def step(self) -> None:
        self.bar.update()

    def epoch(self, row: dict) -> None:
        """Show a finished epoch's row."""
        done = row["epoch"]
        if not self.bar.disable:
            self.bar.set_description_str(f"epoch {min(done + 1, self.epochs)}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {row['loss']:.4f}, top-1 {row['top1']:.2f} %")
            return
        left = (time.monotonic() - self.started) / (done - self.first) * (self.epochs - done)
        print(
            f"epoch {done}/{self.epochs}  lr {row['lr']:.4g}  loss {row['loss']:.4f}  top-1 {row['top1']:.2f} %  "
            f"nll {row['nll']:.4f}  {row['images_per_second']:,.0f} images/s  {tqdm.format_interval(left)} left",
            flush=True,
        )
