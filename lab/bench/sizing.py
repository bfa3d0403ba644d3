"""How much a fleet needs, by arithmetic from what was measured: `python -m lab.bench.sizing` prints the tables.

Pure. docs/scaling.md has these very tables; a test compares them. Who measures again writes the figures into
`MEASURED` and prints the tables anew.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

HOUR_S, DAY_S, YEAR_S = 3_600, 86_400, 31_557_600
GIB, GB, MB, KB = 1 << 30, 10**9, 10**6, 10**3
PAGE = 8_192
FLEETS = (10_000, 100_000, 1_000_000)
ROLLUPS = ("rollup_hour", "rollup_day")
# `max_bytes` of FRAMES; a test compares it with core.runtime.streams.
FRAMES_OCTETS = 4 * GIB
# A frame that waits for the bus in a bridge's memory: `python -m lab.bench.footprint`.
WAITING_FRAME_OCTETS = 523


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of two virtual cores, one machine; each says which command gives it."""

    row_octets: Mapping[str, tuple[float, float]]
    """Heap and index of one row: `bench storage`."""
    device_octets: float
    """What the registry keeps of a device, sessions and last values included: `bench storage`."""
    log_octets: float
    """WAL of an uplink whose pages were written since the last checkpoint: `bench storage`."""
    first_log_octets: float
    """WAL of an uplink that is the first of its device since the last checkpoint: `bench storage`."""
    bus_octets: Mapping[str, float]
    """Of an uplink of one copy on each stream: `bench storage`."""
    datagram_octets: float
    """A reception in a PUSH_DATA, IP and UDP headers included: `bench storage`."""
    fixed_cores: float
    """What batches, timers and probes take at any rate: a line through `bench ingest` at 2,000 and 8,000/s."""
    uplink_us: Mapping[str, float]
    """CPU of a further uplink by process, from the same line: `bench ingest --rate 15000`'s shares of it."""
    copy_us: float
    """CPU of a further reception: `bench ingest --copies 2.5`."""
    megabytes: Mapping[str, tuple[float, float]]
    """Memory of a process, and more for each thousand devices: `bench storage` with 500 of them and with 5,000."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is not measured but chosen; the tables say so."""

    sensor_share: float = 0.95
    sensor_per_hour: float = 4.0
    cabinet_per_hour: float = 12.0
    """Lighting cabinets and light points, the rest of the fleet."""
    values: float = 5.0
    copies: float = 2.5
    peak: float = 5.0
    """A busy minute against the mean: sensors that report on the hour, gateways that replay what they kept."""
    margin: float = 2.0
    """Between what is busy in the peak and what is there."""
    busiest: float = 0.5
    """Of one core, for one process in the peak: a service is one process with one event loop."""
    devices_per_gateway: float = 500.0
    checkpoint_s: float = 1_800.0
    """As in k8s/components/database-cnpg; by the server's own five minutes each page would be written whole."""
    measurement_months: float = 36.0
    uplink_months: float = 13.0

    @property
    def per_hour(self) -> float:
        """Uplinks of a device."""
        return self.sensor_share * self.sensor_per_hour + (1 - self.sensor_share) * self.cabinet_per_hour


@dataclass(frozen=True, slots=True)
class Need:
    """What `devices` need. Rates are per second, sizes in octets."""

    devices: int
    measured: Measured
    assumed: Assumed

    @property
    def mean(self) -> float:
        """Uplinks, over a day."""
        return self.devices * self.assumed.per_hour / HOUR_S

    @property
    def peak(self) -> float:
        """Uplinks, in the busiest minute."""
        return self.mean * self.assumed.peak

    @property
    def gateways(self) -> int:
        """How many receive them."""
        return math.ceil(self.devices / self.assumed.devices_per_gateway)

    # --- Processors ----------------------------------------------------------------------------------

    def busy(self, process: str) -> float:
        """Cores that a service would fill in the peak, were it one process; receptions concern two services."""
        microseconds = self.measured.uplink_us[process]
        if process in ("gateway_bridge", "network"):
            microseconds += (self.assumed.copies - 1) * self.measured.copy_us / 2
        return self.peak * microseconds / 1e6

    @property
    def cores(self) -> float:
        """Cores to have: what is busy in the peak, servers included, with the margin."""
        busy = self.measured.fixed_cores + sum(self.busy(process) for process in self.measured.uplink_us)
        return self.assumed.margin * busy

    def replicas(self, process: str) -> int:
        """Two at least: one may be lost."""
        return max(2, math.ceil(self.busy(process) / self.assumed.busiest))

    @property
    def shards(self) -> int:
        """Four on one machine, sixteen in a cluster: more replicas of a sharded service would own nothing."""
        return 4 if self.devices <= FLEETS[0] else 16

    # --- The bus -------------------------------------------------------------------------------------

    @property
    def messages(self) -> float:
        """Messages at most: each replica closes a shard's batch of frames every 25 ms; uplinks are as frequent."""
        per_shard = 40 * self.shards
        frames = min(self.peak * self.assumed.copies, per_shard * self.replicas("gateway_bridge"))
        return frames + 2 * min(self.peak, per_shard)

    @property
    def bus_octets(self) -> float:
        """Published, over a day: of FRAMES each copy, of the other two each uplink."""
        octets = self.measured.bus_octets
        return self.mean * (octets["frames"] * self.assumed.copies + octets["uplinks"] + octets["measurements"])

    def full_after_s(self, max_octets: int) -> float:
        """How long FRAMES takes what nobody reads, at the mean rate."""
        return max_octets / (self.mean * self.assumed.copies * self.measured.bus_octets["frames"])

    # --- The database --------------------------------------------------------------------------------

    @property
    def row_rates(self) -> dict[str, float]:
        """Rows inserted, by table, over a day; rollups are those of datastreams that report at least hourly."""
        datastreams = self.devices * self.assumed.values
        return {
            "uplink": self.mean,
            "reception": self.mean * self.assumed.copies,
            "measurement": self.mean * self.assumed.values,
            "uplink_seen": self.mean,
            "rollup_hour": datastreams / HOUR_S,
            "rollup_day": datastreams / DAY_S,
        }

    @property
    def written(self) -> float:
        """Rows in the peak: inserted, last values and session changed."""
        return self.peak * (1 + self.assumed.copies + 2 * self.assumed.values + 1 + 1)

    @property
    def log(self) -> float:
        """WAL, over a day. The first uplink of a device after a checkpoint writes its pages whole.

        Further receptions come on the page of the first, and add their rows.
        """
        measured, assumed = self.measured, self.assumed
        of_each = assumed.per_hour * assumed.checkpoint_s / HOUR_S
        first = min(1.0, 1 / of_each)
        octets = first * measured.first_log_octets + (1 - first) * measured.log_octets
        return self.mean * (octets + (assumed.copies - 1) * sum(measured.row_octets["reception"]))

    def table_year(self, table: str) -> float:
        """Octets of a table's year, indexes included."""
        return self.row_rates[table] * YEAR_S * sum(self.measured.row_octets[table])

    @property
    def year(self) -> float:
        """Octets of a year of everything that is kept for longer than days, without compression."""
        return sum(self.table_year(table) for table in ("uplink", "reception", "measurement", *ROLLUPS))

    def year_compressed(self, ratio: float) -> float:
        """The same where measurements, and they alone, are so many times smaller."""
        measurement = self.table_year("measurement")
        return self.year - measurement + measurement / ratio

    @property
    def kept(self) -> float:
        """Octets once the terms of retention are reached: 36 months, 13 months, and five years of rollups."""
        assumed = self.assumed
        observed = self.table_year("uplink") + self.table_year("reception")
        rollups = 5 * sum(self.table_year(table) for table in ROLLUPS)
        raw = self.table_year("measurement") * assumed.measurement_months / 12
        return observed * assumed.uplink_months / 12 + raw + rollups + self.seen + self.registry

    @property
    def seen(self) -> float:
        """`uplink_seen`, pruned after eight days."""
        return self.row_rates["uplink_seen"] * 8 * DAY_S * sum(self.measured.row_octets["uplink_seen"])

    @property
    def registry(self) -> float:
        """Devices, assets, sessions, datastreams, last values."""
        return self.devices * self.measured.device_octets

    @property
    def chunk_days(self) -> int:
        """A week as a rule; a day where a week's index of measurements is more than a server's memory."""
        return 7 if self._index("measurement", 7) < 64 * GB else 1

    def _index(self, table: str, days: int) -> float:
        return self.row_rates[table] * days * DAY_S * self.measured.row_octets[table][1]

    @property
    def hot(self) -> float:
        """Octets of index pages that are written to: the last of each datastream or device, or the whole chunk."""
        datastreams = self.devices * self.assumed.values
        owners = {"measurement": datastreams, "uplink": self.devices, "reception": self.devices}
        chunks = sum(min(self._index(table, self.chunk_days), count * PAGE) for table, count in owners.items())
        seen = self.row_rates["uplink_seen"] * 8 * DAY_S * self.measured.row_octets["uplink_seen"][1]
        return chunks + min(seen, self.devices * PAGE) + self.registry

    @property
    def connections(self) -> int:
        """Pools of four, eight of an API; one for each alerting's queue, ten for operators and migrations."""
        bridges, networks, ingests = (self.replicas(one) for one in ("gateway_bridge", "network", "ingest"))
        return 4 * (bridges + networks + ingests + 2 + 2 + 2 + 2) + 8 * 2 + 2 + 10

    # --- Memory, network, backups --------------------------------------------------------------------

    def memory(self, process: str) -> float:
        """Of one replica, with the margin; what is by device is shared among those that own shards."""
        base, per_thousand = self.measured.megabytes[process]
        return (
            MB * (base + per_thousand * self.devices / 1_000 / self.replicas_left(process)) * self.assumed.margin
        )

    def replicas_left(self, process: str) -> int:
        """Who has to hold it all once one is lost."""
        return max(1, self.replicas(process) - 1) if process in self.measured.uplink_us else 1

    @property
    def incoming(self) -> float:
        """Octets from gateways, in the peak."""
        return self.peak * self.assumed.copies * self.measured.datagram_octets

    @property
    def between(self) -> float:
        """Octets between machines, over a day: bus (in, out, two more replicas), log (two standbys, archive)."""
        return 4 * self.bus_octets + 3 * self.log


# November 2026, two virtual cores (AMD EPYC), PostgreSQL 17, TimescaleDB 2.19 (Apache), nats-server 2.10, Python
# 3.11. The CPU of a line: 417 us an uplink at 2,000/s, 190 us at 8,000/s (docs/performance.md); what each process
# takes of a further one is in the proportion of the 135 us at 12,000/s.
MEASURED = Measured(
    row_octets={
        "uplink": (459.8, 82.7),
        "reception": (76.7, 97.5),
        "measurement": (60.3, 42.9),
        "uplink_seen": (84.6, 68.7),
        "rollup_hour": (93.2, 33.0),
        "rollup_day": (93.8, 49.9),
    },
    device_octets=9_950,
    log_octets=2_500,
    first_log_octets=30_800,
    bus_octets={"frames": 128.4, "uplinks": 134.1, "measurements": 132.6},
    datagram_octets=292,
    fixed_cores=0.61,
    uplink_us={
        "ingest": 30.0,
        "postgres": 30.0,
        "network": 24.0,
        "gateway_bridge": 14.0,
        "alerting": 8.0,
        "nats": 8.0,
    },
    copy_us=15.0,
    megabytes={
        "gateway_bridge": (65.0, 0.0),
        "network": (72.0, 4.0),
        "ingest": (85.0, 3.1),
        "alerting": (92.0, 5.3),
    },
)


def number(value: float) -> str:
    """As French writes it, with two figures that count: 12 000, 1,5."""
    if value == 0:
        return "0"
    digits = 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    decimals = max(0, digits) if rounded != int(rounded) else 0
    return f"{rounded:,.{decimals}f}".replace(",", "\N{NO-BREAK SPACE}").replace(".", ",")


def octets(value: float) -> str:
    """With its unit, a thousand to the next."""
    for unit, size in (("To", 10**12), ("Go", GB), ("Mo", MB), ("Ko", KB)):
        if value >= size:
            return f"{number(value / size)}\N{NO-BREAK SPACE}{unit}"
    return f"{number(value)}\N{NO-BREAK SPACE}octets"


def lasting(seconds: float) -> str:
    """Hours or days."""
    if seconds >= 2 * DAY_S:
        return f"{number(seconds / DAY_S)}\N{NO-BREAK SPACE}j"
    return f"{number(seconds / HOUR_S)}\N{NO-BREAK SPACE}h"


def _replicas(need: Need) -> str:
    return ", ".join(
        f"{need.replicas(process)}" for process in ("gateway_bridge", "network", "ingest", "alerting")
    )


Row = tuple[str, Callable[[Need], str]]
RATES: Sequence[Row] = (
    ("passerelles", lambda need: number(need.gateways)),
    ("trames par seconde, moyenne", lambda need: number(need.mean)),
    ("trames par seconde, pointe", lambda need: number(need.peak)),
    ("entrée UDP en pointe", lambda need: f"{number(need.incoming * 8 / 1e6)} Mbit/s"),
    ("cœurs à prévoir, base et bus compris", lambda need: number(need.cores)),
    ("répliques : pont, réseau, ingestion, alertes", _replicas),
    ("partitions", lambda need: str(need.shards)),
    ("mémoire d'une réplique restée seule : réseau", lambda need: octets(need.memory("network"))),
    ("  ingestion", lambda need: octets(need.memory("ingest"))),
    ("  alertes", lambda need: octets(need.memory("alerting"))),
    ("messages du bus par seconde, au plus", lambda need: number(need.messages)),
    ("entre machines, moyenne (bus à trois copies, journal à deux secours et archive)",
     lambda need: f"{number(need.between * 8 / 1e6)} Mbit/s"),
    ("FRAMES pleine (4 Gio) sans lecteur, au débit moyen", lambda need: lasting(need.full_after_s(FRAMES_OCTETS))),
)  # fmt: skip
STORAGE: Sequence[Row] = (
    ("lignes insérées ou changées par seconde, pointe", lambda need: number(need.written)),
    ("connexions à PostgreSQL", lambda need: str(need.connections)),
    ("journal (WAL) par jour", lambda need: octets(need.log * DAY_S)),
    ("morceau (chunk)", lambda need: f"{need.chunk_days} j"),
    ("pages d'index écrites sans cesse", lambda need: octets(need.hot)),
    ("mémoire de PostgreSQL", lambda need: octets(max(8 * GB, need.hot * need.assumed.margin))),
    ("une année de trames", lambda need: octets(need.table_year("uplink"))),
    ("  de réceptions", lambda need: octets(need.table_year("reception"))),
    ("  de mesures", lambda need: octets(need.table_year("measurement"))),
    ("  de cumuls", lambda need: octets(sum(need.table_year(table) for table in ROLLUPS))),
    ("  de tout, sans compression", lambda need: octets(need.year)),
    ("  si les mesures sont 7 fois plus petites", lambda need: octets(need.year_compressed(7))),
    ("  si elles le sont 20 fois", lambda need: octets(need.year_compressed(20))),
    ("registre et dédoublonnage, à demeure", lambda need: octets(need.registry + need.seen)),
    ("à demeure, durées de conservation par défaut, sans compression", lambda need: octets(need.kept)),
)  # fmt: skip


def table(rows: Sequence[Row], measured: Measured, assumed: Assumed) -> str:
    """In Markdown, a column for each fleet."""
    needs = [Need(devices, measured, assumed) for devices in FLEETS]
    heads = " | ".join(f"{number(devices)} équipements" for devices in FLEETS)
    lines = [f"| | {heads} |", "|---|" + "---:|" * len(FLEETS)]
    for label, show in rows:
        text = label.strip() if label == label.strip() else f"&nbsp;&nbsp;{label.strip()}"
        lines.append(f"| {text} | " + " | ".join(show(need) for need in needs) + " |")
    return "\n".join(lines)


def tables() -> str:
    """Both, as docs/scaling.md has them."""
    return "\n\n".join(table(rows, MEASURED, Assumed()) for rows in (RATES, STORAGE))


if __name__ == "__main__":
    sys.stdout.write(tables() + "\n")
