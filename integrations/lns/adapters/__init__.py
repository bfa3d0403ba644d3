"""One module per LNS: octets in, an uplink, a report or a reason out; a downlink in, a request out. No I/O."""

from collections.abc import Callable, Mapping

from integrations.lns.adapters import chirpstack, generic, live_objects, the_things_stack, thingpark, wanesy
from integrations.lns.lns_uplink import DownlinkReport, Ignored, LnsMessage, LnsUplink, Unreadable

Adapter = Callable[[LnsMessage], LnsUplink | DownlinkReport | Ignored]

ADAPTERS: Mapping[str, Adapter] = {
    chirpstack.NAME: chirpstack.read,
    the_things_stack.NAME: the_things_stack.read,
    thingpark.NAME: thingpark.read,
    live_objects.NAME: live_objects.read,
    wanesy.NAME: wanesy.read,
    generic.NAME: generic.read,
}


def read(kind: str, message: LnsMessage) -> LnsUplink | DownlinkReport | Ignored:
    """The content of a message of this kind of source.

    Raises:
        Unreadable: no such message, or it has nothing to distinguish it from another of the same content.
    """
    found = ADAPTERS[kind](message)
    if isinstance(found, LnsUplink) and found.f_cnt is None and not (found.message_id or found.stated_time):
        raise Unreadable(
            "no_identity", "ni compteur, ni identifiant, ni heure : un second envoi serait compté deux fois"
        )
    return found
