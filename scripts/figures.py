"""Draw the paper's figures: python scripts/figures.py [N ...] [overrides]

    python scripts/figures.py                               draw all figures from the finished runs
    python scripts/figures.py 4 network=lenet budget=0.05   draw Figure 4 from other runs; its title names the overrides
    python scripts/figures.py 4 title=false                 leave the title out, for a paper with a caption
    python scripts/figures.py 8 --train                     first train the missing runs of Figure 8, one after another

PNG and PDF go to <machine.output>/figures, and a copy of the PNG to W&B. The panel of a missing run shows why it is
empty. An existing PNG that shows runs which cannot be drawn now is not replaced."""

import argparse
import shlex
from pathlib import Path

from lls.errors import run_script
from lls.paper import figures
from lls.paper.mirror import mirror_figures
from lls.paper.smoke import make_data
from lls.paper.tags import add_tags
from lls.runs.summary import format_count
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
    loaded = [figures.load(name, overrides, smoke=arguments.smoke) for name in chosen]
    if arguments.train:
        # for all figures at once, so that a run that several figures share has the tags of all
        add_tags([panel.run for figure in loaded for panel in figure.panels], [], loaded)
    drawn = []
    for figure in loaded:
        if arguments.train:
            train_missing(figure)
        if (png := draw(figure)) is not None:
            drawn.append((figure, png))
    machine = loaded[0].panels[0].run.cfg.machine
    mirror_figures(drawn, Path(machine.output), machine.wandb_project, arguments.wandb or machine.wandb)


def train_missing(figure: figures.Figure) -> None:
    """Train the missing runs of a figure, one after another."""
    files = figures.files_of([figure])
    for panel in figure.missing.values():
        execute(panel.run, next((file for file in files[panel.run.id] if not panel.run.has_final(file)), None))


def draw(figure: figures.Figure) -> Path | None:
    """Draw a figure and print its path and its missing runs. Returns the path of the PNG.

    Returns None if the existing PNG shows runs that cannot be drawn now; it is not replaced."""
    png, _ = figures.paths_of(figure)
    reasons = {run_id: figures.missing_reason(panel.run, figure.needs) for run_id, panel in figure.missing.items()}
    if lost := figures.lost_runs(figure):
        reason = ", ".join(sorted({reasons[run_id] for run_id in lost}))
        print(
            f"figure {figure.name}: {png} is not replaced, because it shows runs that cannot be drawn now ({reason}); "
            f"to draw it anew: {figure.command}; or remove it"
        )
        return None
    figures.draw(figure)
    missing = f"; {format_count(len(reasons), 'missing run')}:" if reasons else ""
    print(f"figure {figure.name}: {png}{missing}")
    for run_id, panel in figure.missing.items():
        again = ["machine.again=true"] if panel.run.ended else []  # without it, train.py skips an ended run
        print(f"  {reasons[run_id]}: python train.py {shlex.join([*panel.overrides, *again])}")
    return png


if __name__ == "__main__":
    run_script(main)
