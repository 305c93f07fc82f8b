"""Train one configuration, or with -m several: python train.py dataset=cifar100 method=lls (python train.py --help)."""

import shlex
import sys

import hydra
from omegaconf import DictConfig

from lls.config import UserError, check_arguments
from lls.runs import Run, execute

failed = []


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> None:
    try:
        execute(Run(cfg))
    except UserError as error:  # in a sweep the other runs go on
        print(f"error: {error}", file=sys.stderr)
        failed.append(error)


if __name__ == "__main__":
    try:
        check_arguments(sys.argv[1:])
        main()
    except UserError as error:
        sys.exit(print(f"error: {error}", file=sys.stderr) or 2)
    except KeyboardInterrupt:
        print(f"to resume it: {shlex.join(['python', *sys.argv])}", file=sys.stderr)
        sys.exit(130)
    sys.exit(2 if failed else 0)
