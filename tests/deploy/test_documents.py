"""Every command that the documents of installations give an operator exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cli.app import app
from core.runtime.settings import ServiceSettings
from tests.k8s.conftest import CHECKOUT, render
from tests.k8s.test_rules import known_settings

# Read by commands, which are no services.
OF_COMMANDS = {
    *("TERRITOIRE_BACKUP_RECIPIENTS", "TERRITOIRE_BACKUP_PLAIN", "TERRITOIRE_RESTORE_DATABASE_URL"),
    *("TERRITOIRE_ALARM_MAIL", "TERRITOIRE_ALARM_URL"),
}
DOCUMENTS = [CHECKOUT / "docs" / f"{name}.md" for name in ("serveur", "kubernetes", "demenagement")]
TEXT = "\n".join(document.read_text("utf-8") for document in DOCUMENTS)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
LINES = [line for kind, block in BLOCKS if kind == "sh" for line in block.replace("\\\n", " ").splitlines()]


def test_every_command_of_ours_has_the_options_that_it_is_given() -> None:
    asked = [
        (match[1].split(), re.findall(r"--[a-z-]+", match[2]))
        for line in LINES
        for match in re.finditer(r"\./territoire (pitr \w+|secrets \w+|\w+)([^&|#]*)", line)
    ]
    named = {"install", "status", "doctor", "backup", "restore", "keys", "pitr", "secrets", "alarm"}
    assert {words[0] for words, _ in asked} == named
    for words, options in asked:
        said = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
        assert all(option in said for option in options), (words, options)


def test_every_file_and_every_setting_that_is_named_exists() -> None:
    for place in re.findall(r"\b(?:deploy|k8s)/[\w./-]+\w", TEXT):
        if place not in {"deploy/.env", "deploy/territoire.env"}:  # The operator's own.
            assert (CHECKOUT / place).exists(), place
    for script in re.findall(r"\./(\w+\.sh)", TEXT):
        assert os.access(CHECKOUT / "deploy" / script, os.X_OK)
    named = set(re.findall(r"TERRITOIRE_[A-Z_]+[A-Z]\b", TEXT))
    assert named - OF_COMMANDS <= known_settings()
    for target in re.findall(r"\]\(([\w.-]+\.md)", TEXT):
        assert (CHECKOUT / "docs" / target).exists(), target


def anchors_of(page: Path) -> set[str]:
    """Of its headings, as a reader of Markdown makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_an_alarm_s_page_asks_of_a_cluster_names_its_namespace() -> None:
    """Somebody who was woken has no context of ours: in `default` there is nothing, and nothing is wrong."""
    text = (CHECKOUT / "docs" / "exploitation.md").read_text("utf-8")
    commands = re.findall(r"kubectl [^`\n]*", text)

    assert len(commands) > 20
    assert [one for one in commands if not re.search(r" -n [a-z]+", one)] == []


def test_every_section_that_is_pointed_to_exists() -> None:
    for page in sorted((CHECKOUT / "docs").rglob("*.md")):
        for target, anchor in re.findall(r"\]\(([\w./-]*)#([^)]+)\)", page.read_text("utf-8")):
            there = page.parent / target if target else page
            if there.suffix == ".md":
                assert anchor in anchors_of(there), f"{page.name}: {target}#{anchor}"


def test_every_secret_of_the_manifests_is_in_the_table() -> None:
    told = {
        name: set(re.findall(r"[a-z-]+(?:\.[a-z]+)?", keys))
        for names, keys in re.findall(r"^\| (territoire-[^|]+) \| ([^|]+) \|", TEXT, re.MULTILINE)
        for name in names.split(", ")
    }
    for secret in render("production").of("ExternalSecret"):
        name = secret["metadata"]["name"]
        assert {entry["secretKey"] for entry in secret["spec"]["data"]} <= told[name.strip()], name


def test_the_bus_is_called_by_every_server_s_name_that_its_certificate_has() -> None:
    """One name for all would be tried at the same lost address again and again."""
    [url] = re.findall(r"`(tls://[^`]*nats[^`]*)`", TEXT)
    called = re.findall(r"@([\w.-]+):4222", url)
    rendered = render("production")
    servers = rendered.named("StatefulSet", "nats")["spec"]["replicas"]

    assert called == [f"nats-{number}.nats" for number in range(servers)]
    assert set(called) <= set(rendered.named("Certificate", "nats")["spec"]["dnsNames"])
    ServiceSettings(database_url="postgresql://a:b@c/d", nats_url=url.partition("?")[0])  # type: ignore[arg-type]


@pytest.mark.starts_processes
def test_the_manifests_are_accepted_by_the_command_that_the_operator_types(tmp_path: Path) -> None:
    [line] = [line.partition("#")[0] for line in LINES if "kubernetes-validate" in line]
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}

    def typed(command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-c", command], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
        )

    passed = typed(line)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "passed for resource deployment/gateway-bridge" in passed.stdout + passed.stderr
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prts: []}\n", "utf-8")
    assert typed(f"cat {wrong} | {line.partition('|')[2]}").returncode != 0


@pytest.mark.parametrize("text", [block for kind, block in BLOCKS if kind == "yaml"])
def test_what_is_to_be_copied_is_yaml(text: str) -> None:
    assert yaml.safe_load(text)
