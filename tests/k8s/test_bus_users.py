"""The bus's users in compose and Kubernetes are those of the table, and the server is given their passwords."""

import os
import re

from core.messages.permissions import OWNER, USERS
from services.supervisor.nats import render_users
from tests.k8s.conftest import CHECKOUT, containers_of, render

FILE = CHECKOUT / "k8s" / "components" / "nats-users" / "users.conf"
HEADING = "# Made of core/messages/permissions.py: WRITE_BUS_USERS=1 pytest tests/k8s/test_bus_users.py\n"
VARIABLES = {OWNER: "$NATS_PASSWORD"} | {user: f"${service.upper()}_BUS" for service, user in USERS.items()}


def test_the_file_of_users_is_made_of_the_table() -> None:
    made = HEADING + render_users(VARIABLES)
    if os.environ.get("WRITE_BUS_USERS"):
        FILE.write_text(made, "utf-8")

    assert FILE.read_text("utf-8") == made


def test_a_bus_of_every_overlay_is_given_a_password_in_quotes_for_every_login() -> None:
    for overlay in ("demo", "staging", "production"):
        rendered = render(overlay)
        [bus] = [one for one in containers_of(rendered.named("StatefulSet", "nats")) if one["name"] == "nats"]
        names = [entry["name"] for entry in bus["env"]]
        values = {entry["name"]: entry.get("value", "") for entry in bus["env"]}
        for variable in VARIABLES.values():
            quoted = re.fullmatch(r'"\$\((\w+)\)"', values[variable.removeprefix("$")])
            assert quoted is not None
            # Kubernetes replaces only what stands before.
            assert names.index(quoted[1]) < names.index(variable.removeprefix("$"))
        assert "/etc/nats/users" in {mount["mountPath"] for mount in bus["volumeMounts"]}
