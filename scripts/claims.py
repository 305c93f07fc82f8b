"""Judge the paper's claims by the finished runs: python scripts/claims.py [--check]

Writes <output>/claims.md. With --check it writes nothing, and fails if claims.md does not match the runs."""

import argparse
from pathlib import Path

from lls.errors import UserError, run_script
from lls.files import write_atomic
from lls.paper.claims.render import markdown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder of the runs (default: outputs)")
    parser.add_argument("--check", action="store_true", help="fail if claims.md is stale; write nothing")
    arguments = parser.parse_args()
    text, path = markdown(arguments.output), arguments.output / "claims.md"
    if arguments.check:
        if not path.exists() or path.read_text() != text:
            raise UserError(f"{path} is stale: write it again with python scripts/claims.py")
        return
    write_atomic(path, lambda temporary: temporary.write_text(text))
    print(path)


if __name__ == "__main__":
    run_script(main)
