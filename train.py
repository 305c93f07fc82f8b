"""Train one configuration, or several with -m: python train.py dataset=cifar100 method=lls. --help lists the keys."""

import os
import shlex
import sys

import hydra
from omegaconf import DictConfig, OmegaConf

from lls.cli import check_arguments
from lls.config.ranges import check_ranges
from lls.errors import UserError
from lls.runs.run import Run

# A job of a launcher is another process, with its own copy of these three.
failed: list[UserError] = []
trained_again: list[str] = []  # ids of the runs that machine.again=true has trained
main_process = os.getpid()


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> None:
    try:
        from lls.training.execute import execute  # imports torch, which --help does not need

        check_ranges(OmegaConf.to_container(cfg, resolve=True))
        execute(run := Run(cfg))
        if cfg.machine.again:
            trained_again.append(run.id)
    except UserError as error:  # the other runs of a sweep are trained all the same
        print(f"error: {error}", file=sys.stderr)
        if os.getpid() != main_process:
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
        print(f"to continue: {shlex.join(['python', *sys.argv])}", file=sys.stderr)
        if trained_again:
            print(
                f"machine.again=true would train {len(trained_again)} runs once more that are done now: leave them out",
                file=sys.stderr,
            )
        sys.exit(130)
    sys.exit(max((error.status for error in failed), default=0))
