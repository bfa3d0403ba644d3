"""Gateways and devices of a fleet plan, ready to go on the air."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lab.device.answers import Answers
from lab.device.application import Application, Message
from lab.device.device import Device, SentUplink
from lab.fleet.plan import JOIN_EUI, DevicePlan, GatewayPlan
from lab.gateway.gateway import Gateway
from lab.gateway.mqtt import MqttGateway
from lab.gateway.station import StationGateway
from lab.gateway.udp import UdpGateway
from lab.radio.concentrator import COUNTER
from lab.radio.medium import Link, RadioMedium
from lorawan.identifiers import GatewayId
from services.supervisor.run_info import RunInfo

# Gateways' clocks are wrong by so much (standard deviation).
CLOCK_ERROR_US = 400_000


@dataclass(frozen=True, slots=True)
class GatewayServers:
    """What gateways connect to, and by what they prove who they are: a token, on MQTT `user:password`."""

    udp: tuple[str, int]
    mqtt_url: str
    station_url: str
    tokens: Mapping[bytes, str]

    @classmethod
    def of(cls, run: RunInfo, tokens: Mapping[bytes, str]) -> "GatewayServers":
        """Those of a stack that runs here."""
        return cls((run.udp_host, run.udp_port), run.mqtt_url, run.station_url, tokens)


def build_gateways(
    plans: Sequence[GatewayPlan],
    medium: RadioMedium,
    source: random.Random,
    *,
    servers: GatewayServers,
) -> list[Gateway]:
    """The gateways of these plans, each with a clock that is wrong."""
    built: list[Gateway] = []
    for plan in plans:
        gateway = _build(plan, medium, source, servers)
        gateway.clock_error_us = round(source.gauss(0, CLOCK_ERROR_US))
        built.append(gateway)
    return built


def _build(plan: GatewayPlan, medium: RadioMedium, source: random.Random, servers: GatewayServers) -> Gateway:
    match plan.speaks:
        case "mqtt":
            scheme, _, address = servers.mqtt_url.partition("://")
            url = f"{scheme}://{servers.tokens.get(plan.gateway_id, '')}@{address}"
            return MqttGateway(*_common(plan, medium, source), mqtt_url=url)
        case "station":
            token = servers.tokens.get(plan.gateway_id, "")
            return StationGateway(*_common(plan, medium, source), url=servers.station_url, token=token)
        case "udp":
            return build_udp_gateway(plan, medium, source, servers.udp)


def build_udp_gateway(
    plan: GatewayPlan,
    medium: RadioMedium,
    source: random.Random,
    server: tuple[str, int],
    pulls_from: tuple[str, int] | None = None,
) -> UdpGateway:
    """A gateway on UDP whose clock is right."""
    return UdpGateway(*_common(plan, medium, source), server=server, pulls_from=pulls_from)


def _common(
    plan: GatewayPlan, medium: RadioMedium, source: random.Random
) -> tuple[GatewayId, str, float, float, RadioMedium, int]:
    offset_us = source.randrange(COUNTER)
    return plan.gateway_id, plan.name, plan.latitude, plan.longitude, medium, offset_us


def build_device(
    plan: DevicePlan,
    links: Sequence[Link],
    medium: RadioMedium,
    source: random.Random,
    *,
    application: Application | None = None,
    confirmed_share: float = 0.0,
    answers: Answers | None = None,
    record: Callable[[SentUplink], None] | None = None,
    answer_soon: Callable[[Device, Message], None] | None = None,
) -> Device:
    """The device of this plan, placed in range of these gateways."""
    device = Device(
        plan.number,
        plan.dev_eui,
        JOIN_EUI,
        plan.app_key,
        application or plan.application,
        links,
        medium,
        source,
        is_class_c=plan.profile.device_class == "C",
        confirmed_share=confirmed_share,
    )
    if answers is not None:
        device.answers = answers
    if record is not None:
        device.record = record
    if answer_soon is not None:
        device.answer_soon = answer_soon
    medium.place(device, links)
    return device
