"""Where a step's time goes, operator by operator: the published form beside ours."""

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.measuring import Failed, Worker
from benchmarks.turns import PROFILE, TIME

#: Operators that are shown for themselves; the others are summed up.
SHOWN = 12


def measure(start: Callable[[str], Worker], ways: Iterable[str], tell: Callable[[str], None]) -> dict[str, Any]:
    """The profile of each way's work, of one unit of it, in a process of its own, one after the other.

    Args:
        start: Starts a way's worker.
        ways: The ways of the row.
        tell: Is told what goes on.

    Returns:
        By way: ``seconds`` of a unit that is not profiled, and the ``profile``: of each operator the seconds in which
        it, and nothing that it called, computed.
    """
    found = {}
    for way in ways:
        tell(f"{way} starts")
        try:
            worker = start(way)
            try:
                worker.ask(TIME)
                seconds = worker.ask(TIME)["seconds"]
                found[way] = {"seconds": seconds, "profile": worker.ask(PROFILE)["profile"]}
            finally:
                worker.end()
        except Failed as error:
            tell(f"{way} not measured: {error}")
    return found


def markdown(found: dict[str, Any]) -> str:
    """A table of a row's profiles: the operators that take the most in any way, the first ones first."""
    profiles: dict[str, dict[str, float]] = {way: figures["profile"] for way, figures in found.items()}
    names = {name for profile in profiles.values() for name in profile}
    of_all = sorted(names, key=lambda name: -max(profile.get(name, 0.0) for profile in profiles.values()))
    rows = [(f"`{name}`", [profile.get(name, 0.0) for profile in profiles.values()]) for name in of_all[:SHOWN]]
    rest = [sum(profile.get(name, 0.0) for name in of_all[SHOWN:]) for profile in profiles.values()]
    rows.append(("all others", rest))
    rows.append(("together", [sum(profile.values()) for profile in profiles.values()]))
    shown = [f"| operator | {' | '.join(profiles)} |", "|---|" + "---|" * len(profiles)]
    for name, seconds in rows:
        shown.append(f"| {name} | {' | '.join(f'{second:.3g} s' for second in seconds)} |")
    return "\n".join(shown)
