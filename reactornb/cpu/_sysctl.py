"""Read the topology from macOS's `sysctl`, live or as recorded text. Threads cannot be tied to CPUs there; counts suffice."""

from reactornb.cpu._kinds import Seen, assemble
from reactornb.cpu._records import Kind, Topology


def read_sysctl(text: str | None = None) -> Topology | None:
    """The topology that `sysctl hw` tells.

    Args:
        text: recorded output, lines of "name: value"; None asks this machine.

    Returns:
        The topology, or None where there is no sysctl or it tells no count.
    """
    if text is None:
        import subprocess

        try:
            done = subprocess.run(["/usr/sbin/sysctl", "hw"], capture_output=True, text=True, timeout=5, check=False)
        except (OSError, subprocess.SubprocessError):
            return None
        text = done.stdout
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            values[name.strip()] = value.strip()

    def count(name: str) -> int:
        return int(values[name]) if values.get(name, "").isdigit() else 0

    levels = count("hw.nperflevels")
    while f"hw.perflevel{levels}.logicalcpu" in values:  # macOS 12 told the levels, but not yet how many there are
        levels += 1
    seen: list[Seen] = []
    for level in range(levels):
        name = f"hw.perflevel{level}"
        _add(seen, count(f"{name}.physicalcpu"), count(f"{name}.logicalcpu"), _kind(values.get(f"{name}.name"), level))
    if not seen:  # an Intel Mac
        _add(seen, count("hw.physicalcpu"), count("hw.logicalcpu"), "performance")
    return assemble(seen, "sysctl") if seen else None


def _kind(name: str | None, level: int) -> Kind:
    """Level 0 is always the strongest; an M5's second level is named "Performance" and is meant so ("Super" is above it)."""
    if level == 0 or name in {"Super", "Performance"}:
        return "performance"
    return "efficiency" if level == 1 or name == "Efficiency" else "low-power"


def _add(seen: list[Seen], cores: int, threads: int, kind: Kind) -> None:
    per_core = max(1, threads // cores) if cores else 1
    first = len(seen)
    seen.extend(
        Seen(id=first + number, core=first + number // per_core, stated=kind) for number in range(max(cores, threads))
    )
