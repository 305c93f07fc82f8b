"""Draw the paper's figures: python scripts/figures.py [N ...] [overrides]

    python scripts/figures.py                               draw all figures from the finished runs
    python scripts/figures.py 4 network=lenet budget=0.05   draw Figure 4 from other runs; its title names the overrides
    python scripts/figures.py 8 --train                     first train the missing runs of Figure 8, one after another

PNG and PDF go to <machine.output>/figures, and a copy of the PNG to W&B. The panel of a missing run shows why it is
empty."""

import argparse
import shlex
from pathlib import Path

from lls.errors import run_script
from lls.paper import figures
from lls.paper.mirror import mirror_figures
from lls.paper.smoke import make_data
from lls.paper.tags import add_tags
from lls.training.execute import execute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="N or key=value", help="figures (default: all) and overrides")
    parser.add_argument("--train", action="store_true", help="first train the runs that are missing")
    parser.add_argument("--smoke", action="store_true", help="use the small form of each run, in outputs/smoke")
    parser.add_argument(
        "--wandb", choices=["offline", "online", "disabled"], help="log the figures to W&B; default: machine.wandb"
    )
    arguments = parser.parse_intermixed_args()
    overrides = [word for word in arguments.words if "=" in word]
    chosen = [word for word in arguments.words if "=" not in word and word != "all"] or figures.names()
    if arguments.smoke and arguments.train:
        make_data()
    drawn = []
    for name in chosen:
        figure = figures.load(name, overrides, smoke=arguments.smoke)
        if arguments.train:
            add_tags([panel.run for panel in figure.panels], [], [figure])
            files = figures.files_of([figure])
            for panel in figure.missing.values():
                execute(panel.run, next((file for file in files[panel.run.id] if not panel.run.has_final(file)), None))
        png, _ = figures.draw(figure)
        drawn.append((figure, png))
        missing = f"; {len(figure.missing)} of its runs are missing:" if figure.missing else ""
        print(f"figure {name}: {png}{missing}")
        for panel in figure.missing.values():
            print(f"  {figures.missing_reason(panel.run, figure.needs)}: python train.py {shlex.join(panel.overrides)}")
    machine = drawn[0][0].panels[0].run.cfg.machine
    mirror_figures(drawn, Path(machine.output), machine.wandb_project, arguments.wandb or machine.wandb)


if __name__ == "__main__":
    run_script(main)
