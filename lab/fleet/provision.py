"""Puts a fleet into the registry as an integrator would: over the API."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

import httpx

from lab.fleet.plan import JOIN_EUI, DevicePlan, GatewayPlan, Profile

CONCURRENCY = 8
TIMEOUT_S = 30
# The API closes a connection that was idle for five seconds: a request on its way to it then would be lost.
KEPT_S = 1.0
# A machine that is busy with something else may keep the database from answering for a moment.
WAITS_S = (1, 2, 5, 10)
# Nothing of such a request was done.
FOR_A_MOMENT = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.REQUEST_TIMEOUT})


class ProvisioningFailed(Exception):
    """The API rejected what the fleet needs; the message is the API's own."""


class Provisioner:
    """A client of the API, with the rights of one key."""

    def __init__(self, api_url: str, api_key: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=api_url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=TIMEOUT_S,
            limits=httpx.Limits(keepalive_expiry=KEPT_S),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST and return the JSON answer.

        Raises:
            ProvisioningFailed: the answer is not 2xx, nor 503 or 408 for a moment only.
        """
        answer = await self._client.post(path, json=body)
        for wait_s in WAITS_S:
            if answer.status_code not in FOR_A_MOMENT:
                break
            await asyncio.sleep(wait_s)
            answer = await self._client.post(path, json=body)
        if not answer.is_success:
            raise ProvisioningFailed(f"POST {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    async def put(self, path: str, body: dict[str, Any]) -> None:
        """PUT; raises ProvisioningFailed."""
        answer = await self._client.put(path, json=body)
        if not answer.is_success:
            raise ProvisioningFailed(f"PUT {path}: {answer.status_code} {answer.text[:500]}")

    async def patch(self, path: str, body: dict[str, Any]) -> None:
        """PATCH; raises ProvisioningFailed."""
        answer = await self._client.patch(path, json=body)
        if not answer.is_success:
            raise ProvisioningFailed(f"PATCH {path}: {answer.status_code} {answer.text[:500]}")

    async def delete(self, path: str) -> None:
        """DELETE; raises ProvisioningFailed."""
        answer = await self._client.delete(path)
        if not answer.is_success:
            raise ProvisioningFailed(f"DELETE {path}: {answer.status_code} {answer.text[:500]}")

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        """GET and return the JSON answer; raises ProvisioningFailed."""
        answer = await self._client.get(path, params=query)
        if not answer.is_success:
            raise ProvisioningFailed(f"GET {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    async def create_gateways(self, plans: Sequence[GatewayPlan]) -> dict[bytes, str]:
        """Register every gateway; returns the tokens of stations, and of those on MQTT account and password."""
        tokens: dict[bytes, str] = {}

        async def create(plan: GatewayPlan) -> None:
            await self._create_gateway(plan)
            path = f"/v1/gateways/{plan.gateway_id.hex()}"
            if plan.speaks == "station":
                tokens[plan.gateway_id] = (await self.post(f"{path}/tokens", {}))["token"]
            if plan.speaks == "mqtt":
                made = await self.post(f"{path}/mqtt-accounts", {})
                tokens[plan.gateway_id] = f"{made['username']}:{made['password']}"

        await in_parallel(plans, create)
        return tokens

    async def create_profiles(self, plans: Sequence[DevicePlan], expected_interval_s: float) -> dict[str, int]:
        """Register the profiles that these devices have; returns ids by name."""
        profiles: dict[str, int] = {}
        for profile in dict.fromkeys(plan.profile for plan in plans):
            profiles[profile.name] = await self.create_profile(profile, expected_interval_s)
        return profiles

    async def create_profile(self, profile: Profile, expected_interval_s: float) -> int:
        """Register a profile; returns its id."""
        body = {
            "name": profile.name,
            "vendor": profile.vendor,
            "model": profile.model,
            "codec": profile.codec,
            "codec_options": dict(profile.codec_options),
            "device_class": profile.device_class,
            "expected_interval_s": expected_interval_s,
            "capabilities": list(profile.capabilities),
        }
        return (await self.post("/v1/device-profiles", body))["id"]

    async def create_devices(
        self, plans: Sequence[DevicePlan], expected_interval_s: float, progress: Callable[[], None]
    ) -> dict[bytes, int]:
        """Register every asset and the device that serves it; returns asset ids by DevEUI."""
        profiles = await self.create_profiles(plans, expected_interval_s)
        assets: dict[bytes, int] = {}

        async def create(plan: DevicePlan) -> None:
            asset = await self.post("/v1/assets", _asset_of(plan))
            await self.post("/v1/devices", _device_of(plan, profiles[plan.profile.name], asset["id"]))
            assets[plan.dev_eui] = asset["id"]
            progress()

        await in_parallel(plans, create)
        return assets

    async def _create_gateway(self, plan: GatewayPlan) -> None:
        body = {
            "gateway_id": plan.gateway_id.hex(),
            "name": plan.name,
            "latitude": plan.latitude,
            "longitude": plan.longitude,
        }
        await self.post("/v1/gateways", body)


def _asset_of(plan: DevicePlan) -> dict[str, Any]:
    return {
        "kind": plan.asset_kind,
        "name": plan.asset_name,
        "commune": plan.commune,
        "street": plan.street,
        "latitude": plan.latitude,
        "longitude": plan.longitude,
        "attributes": plan.attributes,
    }


def _device_of(plan: DevicePlan, device_profile_id: int, asset_id: int) -> dict[str, Any]:
    return {
        "dev_eui": plan.dev_eui.hex(),
        "join_eui": JOIN_EUI.hex(),
        "name": plan.asset_name,
        "device_profile_id": device_profile_id,
        "app_key": plan.app_key.hex(),
        "asset_id": asset_id,
    }


async def in_parallel(items: Sequence[Any], work: Callable[[Any], Awaitable[None]]) -> None:
    """Do `work` for each item, a few at a time; the first failure ends it."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(CONCURRENCY):
                tasks.create_task(worker(), name=f"worker {number}")
    except* (ProvisioningFailed, httpx.HTTPError) as failures:
        first = failures.exceptions[0]
        raise ProvisioningFailed(str(first) or repr(first)) from first
