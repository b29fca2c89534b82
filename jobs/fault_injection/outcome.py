"""Outcome of a fault compared with an undisturbed run: metrics, a printed line, and a report."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESIZE_TOLERANCE = 1e-4
"""Tolerated relative difference of the held-out loss if the number of workers changed during the run."""


@dataclass(frozen=True)
class Result:
    """Outcome of one fault: summary and lines of its run, those of the undisturbed run (``wanted``), and seconds."""

    name: str
    what: str
    summary: dict[str, Any]
    lines: list[dict[str, Any]]
    wanted: dict[str, Any]
    wanted_lines: list[dict[str, Any]]
    same_size: bool
    seconds: float
    slices: int = 2

    @property
    def weights(self) -> bool:
        return bool(self.summary["weights_sha256"] == self.wanted["weights_sha256"])

    @property
    def order(self) -> bool:
        return bool(self.summary["sample_order_hash"] == self.wanted["sample_order_hash"])

    @property
    def loss_difference(self) -> float | None:
        """Relative difference of the held-out loss; None if the run did not end."""
        if "heldout" not in self.summary:
            return None
        wanted = float(self.wanted["heldout"]["end"])
        return abs(float(self.summary["heldout"]["end"]) - wanted) / abs(wanted)

    def samples(self) -> tuple[int, int]:
        """(lost, repeated) over the whole run."""
        found, wanted = _samples(self.lines, self.slices), _samples(self.wanted_lines, self.slices)
        return sum((wanted - found).values()), sum((found - wanted).values())


def metrics(results: list[Result]) -> dict[str, Any]:
    """Metrics over all faults; those that no fault measures are left out."""
    same = [result.weights for result in results if result.same_size]
    resized = [result for result in results if not result.same_size]
    found: dict[str, Any] = {"faults": len(results)}
    if same:
        found["weights_identical"] = sum(same) / len(same)
    found["order_identical"] = sum(result.order for result in results) / len(results)
    if resized:
        differences = [result.loss_difference for result in resized]
        found["resize_loss_rel_difference"] = (
            None if None in differences else max(d for d in differences if d is not None)
        )
        found["resize_weights_identical"] = all(result.weights for result in resized)
    found["samples_lost"] = sum(result.samples()[0] for result in results)
    found["samples_repeated"] = sum(result.samples()[1] for result in results)
    return found | {"seconds": sum(result.seconds for result in results)}


def short(found: dict[str, Any]) -> list[str]:
    """Metrics that miss their required value, as ``name: value``."""
    sound = {"weights_identical": 1.0, "order_identical": 1.0, "samples_lost": 0, "samples_repeated": 0}
    sound["resize_weights_identical"] = True  # the drill has two slices, which have only one order of summation
    bad = [name for name, wanted in sound.items() if name in found and found[name] != wanted]
    difference = found.get("resize_loss_rel_difference", 0.0)
    if difference is None or difference > RESIZE_TOLERANCE:
        bad.append("resize_loss_rel_difference")
    return [f"{name}: {found[name]}" for name in bad]


def show(result: Result) -> None:
    """Print its line of the table."""
    lost, repeated = result.samples()
    verdict = "identical" if result.weights else _differs(result)
    order = "same" if result.order else "OTHER"
    print(
        f"{result.name:<28} weights {verdict:<12} order {order:<5} lost {lost} repeated {repeated} "
        f"{result.seconds:6.1f} s  {result.what}",
        flush=True,
    )


def report(folder: Path, results: list[Result]) -> None:
    """Write ``faults.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["| fault | weights | order | lost | repeated | seconds |", "|---|---|---|---|---|---|"]
    for result in results:
        lost, repeated = result.samples()
        weights = "identical" if result.weights else _differs(result)
        order = "identical" if result.order else "another"
        rows.append(f"| {result.what} | {weights} | {order} | {lost} | {repeated} | {result.seconds:.0f} |")
    (folder / "faults.md").write_text("# Fault drill\n\n" + "\n".join(rows) + "\n")


def _differs(result: Result) -> str:
    difference = result.loss_difference
    return "missing" if difference is None else f"other, held-out loss {difference:.1e} off"


def _samples(lines: list[dict[str, Any]], slices: int) -> Counter[tuple[str, int]]:
    """Count the uses of each sample, by stream and row. A skipped sample that was replaced by another counts as used.

    Three quarters of each slice are labelled; they come first.
    """
    found: Counter[tuple[str, int]] = Counter()
    for line in lines:
        for row in line["rows"]:
            count = len(row) // slices
            for number, one in enumerate(row):
                labelled = number % count < 3 * count // 4
                found["labelled" if labelled else "unlabelled", one if one >= 0 else -1 - one] += 1
    return found
