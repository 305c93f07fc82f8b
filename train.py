"""Train one configuration, or with -m several: python train.py dataset=cifar100 method=lls (python train.py --help)."""

import os
import shlex
import sys

import hydra
from omegaconf import DictConfig, OmegaConf

from lls.cli import check_arguments
from lls.config.ranges import check_ranges
from lls.errors import UserError
from lls.runs.run import Run

failed: list[UserError] = []
trained_again: list[str] = []  # ids of the runs that machine.again=true has trained
here = os.getpid()  # a launcher's job, which is another process, gets a copy of these three


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> None:
    try:
        from lls.training.execute import execute  # here, since it imports torch

        check_ranges(OmegaConf.to_container(cfg, resolve=True))
        execute(run := Run(cfg))
        if cfg.machine.again:
            trained_again.append(run.id)
    except UserError as error:  # in a sweep the other runs go on
        print(f"error: {error}", file=sys.stderr)
        if os.getpid() != here:
            raise
        failed.append(error)


if __name__ == "__main__":
    try:
        check_arguments(sys.argv[1:])
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        failed.append(error)
    except KeyboardInterrupt:
        print(f"to resume it: {shlex.join(['python', *sys.argv])}", file=sys.stderr)
        if trained_again:
            finished = f"{len(trained_again)} of these runs, which are finished by now"
            print(f"machine.again=true would train {finished}, once more: leave them out to keep them", file=sys.stderr)
        sys.exit(130)
    sys.exit(max((error.status for error in failed), default=0))
