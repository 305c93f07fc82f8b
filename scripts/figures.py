"""Draw the paper's figures: python scripts/figures.py [N ...] [overrides]

    python scripts/figures.py                               draw all figures from the finished runs
    python scripts/figures.py 4 network=lenet budget=0.05   draw Figure 4 from other runs; its title names the overrides
    python scripts/figures.py 4 title=false                 leave the title out, for a paper with a caption
    python scripts/figures.py 8 --train                     first train the missing runs of Figure 8, one after another

PNG and PDF go to <machine.output>/figures. The panel of a missing run shows why it is empty. An existing PNG that shows
runs which cannot be drawn now is not replaced."""

import argparse
import shlex

from lls.errors import run_script
from lls.paper import figures
from lls.paper.smoke import make_data
from lls.training.execute import execute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="N or key=value", help="figures (default: all) and overrides")
    parser.add_argument("--train", action="store_true", help="first train the runs that are missing")
    parser.add_argument("--smoke", action="store_true", help="use the small form of each run, in outputs/smoke")
    arguments = parser.parse_intermixed_args()
    overrides = [word for word in arguments.words if "=" in word]
    chosen = [word for word in arguments.words if "=" not in word and word != "all"] or figures.names()
    if arguments.smoke and arguments.train:
        make_data()
    for name in chosen:
        figure = figures.load(name, overrides, smoke=arguments.smoke)
        if arguments.train:
            for panel in figure.missing.values():
                execute(panel.run, next((file for file in figure.needs if not panel.run.has_final(file)), None))
        draw(figure)


def draw(figure: figures.Figure) -> None:
    """Draw a figure unless its existing PNG shows more, and print its path and its missing runs."""
    png, _ = figures.paths_of(figure)
    reasons = {run_id: figures.missing_reason(panel.run, figure.needs) for run_id, panel in figure.missing.items()}
    if lost := figures.lost_runs(figure):
        reason = ", ".join(sorted({reasons[run_id] for run_id in lost}))
        print(
            f"figure {figure.name}: {png} is not replaced, because it shows runs that cannot be drawn now ({reason}); "
            f"to draw it anew: {figure.command}; or remove it"
        )
        return
    figures.draw(figure)
    print(f"figure {figure.name}: {png}{f'; {len(reasons)} of its runs are missing:' if reasons else ''}")
    for run_id, panel in figure.missing.items():
        again = ["machine.again=true"] if panel.run.ended else []  # without it, train.py skips an ended run
        print(f"  {reasons[run_id]}: python train.py {shlex.join([*panel.overrides, *again])}")


if __name__ == "__main__":
    run_script(main)
