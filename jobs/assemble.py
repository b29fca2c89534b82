"""Assemble the weights of finished runs into one verified bundle, with a model card.

python jobs/assemble.py preset=tiny bundle=mine
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mosar import bundle
from mosar.bundle import locate
from mosar.errors import ConfigError, DataError
from mosar.jobs import hydra_main
from mosar.platform import storage
from mosar.platform.data.manifest import Manifest
from mosar.platform.runs import run

_CARD = """# Model card

A reconstructor of relightable head avatars from one portrait photograph, trained with the preset `{preset}`.

**Trained on synthetic captures** of a virtual light stage{wild}. Held-out figures are on other people under other
lights than the training's; they are not figures on photographs of real people.

Head: `{head}` (sha256 `{head_digest}`).

| stage | steps | held-out loss at the start | at the end | best answer that ignores the input | data |
|---|---|---|---|---|---|
{rows}

Not for identifying people, nor for any decision about them. Heads of children, and what the generator never made
(glasses, beards, head coverings), are reconstructed poorly.
"""
_WILD = {
    "virtual": "; renders of other people, their truth removed, stood in for photographs",
    "photographs": ", and on photographs without truth",
    "unknown": ", and on a wild data set that was no longer there when this was written",
}


@dataclass(frozen=True)
class Assemble:
    """Attributes:

    preset: whose runs, ``<stage>-<preset>``.
    bundle: name below ``bundles/`` of the storage root, absolute folder, or URI.
    storage: root of runs and bundles; else MOSAR_STORAGE, else ~/.mosar.
    runs: stage -> name of its run, where it is another.
    """

    preset: str
    bundle: str = "default"
    storage: str | None = None
    runs: Mapping[str, str] = field(default_factory=dict)


def main(config: Assemble) -> None:
    """Read the runs, check that they belong together, write the bundle."""
    from mosar.models.head import load_head
    from mosar.models.head.head import DEFAULT_PATH
    from mosar.models.reconstruct import steps

    stages = steps.stages()
    unknown = sorted(set(config.runs) - set(stages))
    if unknown:
        raise ConfigError(f"runs: unknown stage {unknown[0]!r}; expected some of {', '.join(stages)}")
    root = storage.root(config.storage)
    runs = {n: storage.join(root, "runs", config.runs.get(n, f"{n}-{config.preset}")) for n in stages}
    unfinished = [name for name, where in runs.items() if run.summary(where) is None]
    if unfinished:
        raise ConfigError(f"runs: {', '.join(runs[n] for n in unfinished)} not finished; train them first")
    fingerprints = {name: run.fingerprint(where) for name, where in runs.items()}
    _belong_together(runs, fingerprints)
    path = fingerprints["geometry"]["head"]["path"]
    head = load_head(path)
    if head.digest != fingerprints["geometry"]["head"]["digest"]:
        raise DataError(f"head: {path or DEFAULT_PATH} is not the head that the runs were trained on; restore it")
    summaries = {name: run.summary(where) or {} for name, where in runs.items()}
    location = locate(config.bundle, config.storage)
    digest = bundle.write(
        location,
        storage.read_bytes(str(path or DEFAULT_PATH)),
        {name: run.weights_file(where) for name, where in runs.items()},
        {name: fingerprint["model"] for name, fingerprint in fingerprints.items()},
        _card(config.preset, head.name, head.digest, fingerprints, summaries),
        {"preset": config.preset, "runs": {n: {"location": w, **summaries[n]} for n, w in runs.items()}},
    )
    print(f"{location}: bundle {digest[:12]} of {', '.join(runs)}")


def _belong_together(runs: Mapping[str, str], fingerprints: Mapping[str, Mapping[str, Any]]) -> None:
    """Every run has the same head, and was built on the very weights of its parents that the bundle holds."""
    digests = {name: fingerprint["head"]["digest"] for name, fingerprint in fingerprints.items()}
    if len(set(digests.values())) > 1:
        raise DataError(f"runs were trained on different heads ({digests}); train them on one")
    for name, fingerprint in fingerprints.items():
        for parent, about in fingerprint["parents"].items():
            found = (run.summary(runs[parent]) or {})["weights_sha256"]
            if found != about["weights_sha256"]:
                raise DataError(f"{runs[name]} was trained on other weights of {parent} than {runs[parent]} holds")


def _card(
    preset: str,
    head: str,
    head_digest: str,
    fingerprints: Mapping[str, Mapping[str, Any]],
    summaries: Mapping[str, Mapping[str, Any]],
) -> str:
    rows = []
    for name, summary in summaries.items():
        figures = [f"{summary['heldout'][key]:.4g}" for key in ("start", "end", "baseline")]
        data = ", ".join(f"{s} {d['digest'][:12]}" for s, d in fingerprints[name]["data"].items())
        rows.append(f"| {name} | {summary['steps']} | {' | '.join(figures)} | {data} |")
    wild = _WILD[_source(fingerprints["geometry"]["data"]["wild"]["location"])]
    return _CARD.format(preset=preset, wild=wild, head=head, head_digest=head_digest, rows="\n".join(rows))


def _source(location: str) -> str:
    """What a wild data set was made of."""
    try:
        source = Manifest(location).about.get("recipe", {}).get("source", "photographs")
    except DataError:
        return "unknown"
    return source if source in _WILD else "photographs"


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, Assemble, "assemble"))
