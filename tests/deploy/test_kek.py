"""The key-encryption key, and those of before, reach the processes that seal or open, in every way to install."""

import yaml

from services.supervisor.stack import UNWRAP
from services.supervisor.stack_options import SERVICES
from tests.deploy.test_compose import PROCESSES
from tests.k8s.conftest import containers_of, render
from tests.k8s.test_rules import environment_of

HOLDERS = {
    "network": "opens keys of devices, sessions and multicast groups, seals new sessions",
    "intake": "opens passwords of other LNS and of partners' brokers",
    "ingest": "opens keys of meters, to decode",
    "alerting": "opens addresses and secrets of webhooks",
    "maintenance": "opens keys of meters, to decode again",
    "api": "seals what people enter, opens second factors and what is taken out",
}
KEYS = {"TERRITOIRE_KEK", "TERRITOIRE_KEK_ID", "TERRITOIRE_KEK_FORMER"}


def test_the_supervisor_hands_it_to_those_that_need_it() -> None:
    # What each is handed: tests/services/supervisor/test_environment.py.
    assert HOLDERS.keys() == UNWRAP


def test_compose_hands_it_to_those_that_need_it() -> None:
    handed = {
        service["command"][0].removeprefix("services."): KEYS & service["environment"].keys()
        for service in PROCESSES.values()
    }

    assert handed == {name: KEYS if name in HOLDERS else set() for name in (*SERVICES, "migrate")}


def test_kubernetes_hands_it_to_those_that_need_it_and_former_ones_when_there_are_some() -> None:
    secret = KEYS - {"TERRITOIRE_KEK_ID"}  # The name of the key is everybody's.
    for overlay in ("demo", "staging", "production"):
        rendered = render(overlay)
        for workload in rendered.ours:
            for container in containers_of(workload):
                told = environment_of(rendered, container)
                process = container["args"][0].removeprefix("services.")
                assert secret & told.keys() == (secret if process in HOLDERS else set()), (overlay, process)
                if process in HOLDERS:
                    former = told["TERRITOIRE_KEK_FORMER"]["secretKeyRef"]
                    assert former == {"name": "territoire-kek-former", "key": "former", "optional": True}
                    assert told["TERRITOIRE_KEK"]["secretKeyRef"] == {"name": "territoire-kek", "key": "kek"}
        text = yaml.safe_dump_all(rendered.of("Deployment", "StatefulSet", "Job"))
        assert text.count("name: territoire-kek\n") == len(HOLDERS)
