"""What has become of the paper's claims: python scripts/claims.py [--check]

Writes <output>/claims.md from the finished runs; with --check, only says whether it is what they give."""

import argparse
from pathlib import Path

from lls.errors import UserError, run_script
from lls.files import write_atomic
from lls.paper.claims.render import markdown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="where the runs are (default: outputs)")
    parser.add_argument("--check", action="store_true", help="fail where claims.md is stale; write nothing")
    arguments = parser.parse_args()
    text, path = markdown(arguments.output), arguments.output / "claims.md"
    if arguments.check:
        if not path.exists() or path.read_text() != text:
            raise UserError(f"{path} is stale: python scripts/claims.py writes it again")
        return
    write_atomic(path, lambda temporary: temporary.write_text(text))
    print(path)


if __name__ == "__main__":
    run_script(main)
