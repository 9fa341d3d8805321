"""The facts of a tunnel as plain values for JSON, and as text for people. Ages are seconds."""

from collections.abc import Mapping
from typing import Any

from tunnel.facts import Facts


def as_values(facts: Facts, now: float) -> dict[str, object]:
    """Ready for JSON; no credential is in it."""

    def age(moment: float | None) -> float | None:
        return None if moment is None else round(max(0.0, now - moment), 1)

    left = None if facts.next_start is None else round(max(0.0, facts.next_start - now), 1)
    return {
        "state": facts.state,
        "seconds": age(facts.since),
        "why": facts.why,
        "replacing": facts.replacing,
        "url": facts.url,
        "connections": {"ready": facts.ready_connections, "most": facts.most_connections},
        "probe": {"found": facts.probe, "age": age(facts.probe_at)} if facts.probe else None,
        "child": {
            "pid": facts.pid,
            "connector": facts.connector,
            "version": facts.version,
            "protocol": facts.protocol,
            "uptime": age(facts.started),
        }
        if facts.pid is not None
        else None,
        "next_start": left,
        "restarts": facts.restarts,
        "crash_loop": facts.crash_loop,
        "foreign_ingress": facts.foreign_ingress,
        "others": list(facts.others),
    }


def as_text(seen: Mapping[str, Any]) -> str:
    """A few lines of what `as_values` holds."""
    lines = [f"Tunnel {seen['state']} for {seen['seconds']:g} s"]
    if seen["replacing"]:
        lines[0] += f", a second cloudflared is {seen['replacing']}"
    if seen["why"]:
        lines.append(f"  {seen['why']}")
    lines.append(f"  public name: {seen['url'] or 'not known yet'}")
    held = seen["connections"]
    probe = seen["probe"]
    found = f"{probe['found']}, {probe['age']:g} s ago" if probe else "none yet"
    lines.append(f"  connections: {held['ready']} of {held['most']}; latest probe: {found}")
    if child := seen["child"]:
        lines.append(
            f"  cloudflared {child['version'] or '(version not told yet)'}, pid {child['pid']}, "
            f"protocol {child['protocol'] or 'none yet'}, up {child['uptime']:g} s, "
            f"connector {child['connector'] or 'not told yet'}"
        )
    if seen["next_start"] is not None:
        lines.append(f"  next start in {seen['next_start']:g} s")
    lines.append(f"  restarts: {seen['restarts']}")
    if seen["crash_loop"]:
        lines.append("  it fails again and again: see the log")
    if seen["foreign_ingress"]:
        lines.append("  the edge has it serve something that is not ours")
    if seen["others"]:
        lines.append(f"  others on the same tunnel: {', '.join(seen['others'])}")
    return "\n".join(lines)
