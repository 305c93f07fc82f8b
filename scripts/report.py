"""Write the report, one HTML page that opens from disk: python scripts/report.py [--output outputs]

It shows the claims, the rendered tables, the drawn figures, the learned Q matrices, and the curves, commands and
commits of the ended runs."""

import argparse
from pathlib import Path

from lls.errors import run_script
from lls.paper.report import write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder of the runs (default: outputs)")
    path = write(parser.parse_args().output)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    run_script(main)
