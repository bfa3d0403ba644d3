"""A device's answers to MAC commands (LoRaWAN L2 1.0.4, section 5): it obeys, and decides its data rate itself."""

from dataclasses import dataclass, field

from lorawan.commands import UplinkCommand, encode_commands, parse_downlink_commands
from lorawan.commands.dev_status import DevStatusAns, DevStatusReq
from lorawan.commands.dl_channel import DlChannelAns, DlChannelReq
from lorawan.commands.duty_cycle import DutyCycleAns, DutyCycleReq
from lorawan.commands.link_adr import LinkAdrAns, LinkAdrReq
from lorawan.commands.new_channel import NewChannelAns, NewChannelReq
from lorawan.commands.rx_param_setup import RxParamSetupAns, RxParamSetupReq
from lorawan.commands.rx_timing_setup import RxTimingSetupAns, RxTimingSetupReq
from lorawan.frame import MAX_F_OPTS

MOST_MARGIN_DB = 31


@dataclass(slots=True)
class MacLayer:
    """The answers that the next uplink carries. `battery` as DevStatusAns has it."""

    battery: int
    _answers: list[UplinkCommand] = field(default_factory=list[UplinkCommand])
    _sticky: list[UplinkCommand] = field(default_factory=list[UplinkCommand])  # Until a downlink is received.

    def take_commands(self, octets: bytes, snr: float) -> int | None:
        """Take the commands of a downlink, also of one without any; the new RxDelay in seconds, if any."""
        self._sticky.clear()
        delay = None
        for command in parse_downlink_commands(octets).commands:
            match command:
                case DevStatusReq():
                    margin = max(-MOST_MARGIN_DB - 1, min(MOST_MARGIN_DB, round(snr)))
                    self._answers.append(DevStatusAns(self.battery, margin))
                case RxTimingSetupReq():
                    delay = command.rx1_delay
                    self._sticky.append(RxTimingSetupAns())
                case RxParamSetupReq():
                    # Its windows are those of its join-accept, for good.
                    self._sticky.append(RxParamSetupAns(False, False, False))
                case DlChannelReq():
                    self._sticky.append(DlChannelAns(False, False))
                case NewChannelReq():
                    self._answers.append(NewChannelAns(True, True))
                case LinkAdrReq():
                    self._answers.append(LinkAdrAns(False, False, True))
                case DutyCycleReq():
                    self._answers.append(DutyCycleAns())
                case _:
                    pass  # Answers to what it never asks.
        return delay

    @property
    def has_answers(self) -> bool:
        """Whether the next uplink carries an answer."""
        return bool(self._answers or self._sticky)

    def f_opts(self) -> bytes:
        """The answers that one uplink has room for; those that are not sticky are sent once."""
        chosen: list[UplinkCommand] = []
        for answer in [*self._sticky, *self._answers]:
            if len(encode_commands([*chosen, answer])) <= MAX_F_OPTS:
                chosen.append(answer)
        self._answers.clear()
        return encode_commands(chosen)
