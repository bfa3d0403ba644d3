"""Every field of every object exists and has its type, in the oldest and the newest Kubernetes that we name."""

import copy
import json

import jsonschema
import kubernetes_validate
import pytest

from tests.k8s.conftest import CHECKOUT, OVERLAYS, Manifest, render

pytestmark = pytest.mark.starts_processes

VERSIONS = ("1.33", "1.37")  # The oldest that has native sleep in preStop and images as volumes by default.
CUSTOM = json.loads((CHECKOUT / "tests" / "k8s" / "crds.json").read_text("utf-8"))


def is_custom(manifest: Manifest) -> bool:
    group = manifest["apiVersion"].partition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


@pytest.fixture(scope="module")
def distinct() -> list[Manifest]:
    """What the overlays apply, each once: most of it is the same in all three."""
    every = [manifest for overlay in OVERLAYS for manifest in render(overlay).manifests]
    return list({json.dumps(manifest, sort_keys=True): manifest for manifest in every}.values())


def check_custom(manifest: Manifest) -> None:
    schema = {"$defs": CUSTOM["$defs"], **CUSTOM["kinds"][f"{manifest['apiVersion']} {manifest['kind']}"]}
    jsonschema.Draft202012Validator(schema).validate(manifest)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_own_objects_are_of_its_schema(distinct: list[Manifest], version: str) -> None:
    for manifest in distinct:
        if not is_custom(manifest):
            kubernetes_validate.validate(manifest, version, strict=True)


def test_custom_resources_are_of_theirs(distinct: list[Manifest]) -> None:
    for manifest in distinct:
        if is_custom(manifest):
            check_custom(manifest)


def test_a_misspelt_or_mistyped_field_of_a_custom_resource_is_found() -> None:
    cluster = render("production").named("Cluster", "database")
    misspelt, mistyped = copy.deepcopy(cluster), copy.deepcopy(cluster)
    misspelt["spec"]["postgresql"]["shared_preload_librarys"] = ["timescaledb"]
    mistyped["spec"]["instances"] = "3"

    for wrong in (misspelt, mistyped):
        with pytest.raises(jsonschema.ValidationError):
            check_custom(wrong)
