"""`python -m lab.fuzz [TARGET...]`: the readers alone; `--case` plays one case of a seed again."""

import argparse
import secrets
import sys

from cli.running import print_json
from lab.fuzz.target import play, source_of
from lab.fuzz.targets import TARGETS


def main() -> int:
    """Print one JSON object per target; 1: something does not hold."""
    asked = argparse.ArgumentParser(prog="python -m lab.fuzz")
    asked.add_argument("targets", nargs="*", choices=[[], *TARGETS])
    asked.add_argument("--cases", type=int, default=2_000)
    asked.add_argument("--seed", default=secrets.token_hex(4))
    asked.add_argument("--case", type=int)
    options = asked.parse_args()
    holds = True
    for name in options.targets or TARGETS:
        if options.case is not None:
            print(repr(TARGETS[name].make(source_of(options.seed, name, options.case))))
        count = options.cases if options.case is None else 1
        found = play(TARGETS[name], count, options.seed, options.case or 0)
        print_json({"seed": options.seed} | found.as_dict())
        holds = holds and (found.holds or (options.case is not None and not found.defects))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
