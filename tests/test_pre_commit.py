"""The hooks before a commit are the project's own tools: they fetch nothing, and they are there."""

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
REPOSITORIES = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
HOOKS = [hook for repository in REPOSITORIES for hook in repository["hooks"]]


def test_every_hook_is_local() -> None:
    assert {repository["repo"] for repository in REPOSITORIES} == {"local"}
    assert {hook["language"] for hook in HOOKS} == {"system"}


@pytest.mark.parametrize("entry", [hook["entry"] for hook in HOOKS])
def test_a_hook_runs_what_the_environment_has(entry: str) -> None:
    program, *arguments = shlex.split(entry)

    assert program.startswith(".venv/bin/")
    assert (Path(sys.executable).parent / Path(program).name).exists()
    if "-m" in arguments:
        assert find_spec(arguments[arguments.index("-m") + 1]) is not None
