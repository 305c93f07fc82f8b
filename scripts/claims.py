"""Judge the paper's claims by the finished runs: python scripts/claims.py [--check | --missing NAME ...]

Writes <output>/claims.md, and a copy of the verdicts to W&B. With --check it writes nothing, and fails if claims.md
does not match the runs. With --missing it prints the commands that train the missing runs of claims, teachers first."""

import argparse
import shlex
from pathlib import Path

from lls.config.compose import did_you_mean
from lls.errors import UserError, run_script
from lls.files import write_atomic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder of the runs (default: outputs)")
    parser.add_argument("--check", action="store_true", help="fail if claims.md is stale; write nothing")
    parser.add_argument("--missing", nargs="+", metavar="NAME", help="print the commands of claims' missing runs")
    parser.add_argument(
        "--wandb", choices=["offline", "online", "disabled"], help="log the verdicts to W&B; default: machine.wandb"
    )
    parser.add_argument("--project", help="W&B project; default: machine.wandb_project")
    arguments = parser.parse_args()
    if arguments.missing:
        print_missing(arguments.missing, arguments.output)
        return
    from lls.paper.claims.render import judged_claims, markdown
    from lls.paper.mirror import default_setting, mirror_claims

    full, short = judged_claims(arguments.output)
    text, path = markdown(full, short, arguments.output), arguments.output / "claims.md"
    if arguments.check:
        if not path.exists() or path.read_text() != text:
            raise UserError(f"{path} is stale: write it again with python scripts/claims.py")
        return
    write_atomic(path, lambda temporary: temporary.write_text(text))
    print(path)
    project = arguments.project or default_setting("wandb_project")
    mirror_claims(full, short, arguments.output, project, arguments.wandb or default_setting("wandb"))


def print_missing(names: list[str], output: Path) -> None:
    from lls.paper.claims import judge, load_claims
    from lls.paper.claims.hours import missing_runs
    from lls.paper.tables.plan import run_overrides

    claims = {claim.name: claim for claim in load_claims()}
    for name in names:
        if name not in claims:
            raise UserError(f"{name}: no such claim{did_you_mean(name, claims)} (there are: {', '.join(claims)})")
    folder = [] if output == Path("outputs") else [f"machine.output={output}"]
    runs = {run.id: run for name in names for run in missing_runs(judge(claims[name], output), output)}
    for run in runs.values():
        print(shlex.join(["python", "train.py", *run_overrides(run), *folder]))


if __name__ == "__main__":
    run_script(main)
