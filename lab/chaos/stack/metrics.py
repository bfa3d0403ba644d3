"""What a process of the stack says of itself, at its /metrics."""

from services.supervisor.loopback import get


async def samples(metrics_url: str, prefix: str) -> dict[str, float]:
    """What a process says of metrics whose line begins so, by name and labels; nothing where it is away."""
    text = (await get(metrics_url) or b"").decode("utf-8", "replace")
    lines = (line.rpartition(" ") for line in text.splitlines())
    return {name: float(value) for name, _, value in lines if name.startswith(prefix) and "_created" not in name}


async def total(metrics_url: str, prefix: str) -> int:
    """The sum of a process's samples whose line begins so; 0 where it is away."""
    return round(sum((await samples(metrics_url, prefix)).values()))
