"""Assemble the weights of finished runs into one verified bundle, with a model card.

python jobs/assemble.py preset=tiny bundle=mine
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mosar import bundle
from mosar.bundle import locate
from mosar.errors import ConfigError, DataError
from mosar.jobs import hydra_main, shipped, stages
from mosar.platform import storage
from mosar.platform.data.manifest import Manifest
from mosar.platform.runs import run

_CARD = """# Model card

A reconstructor of relightable head avatars from one portrait photograph, trained with the preset `{preset}`{others}.

{trained_on} {started}Held-out figures are measured on people and
lights that are not in the training data. They do not show how well photographs of real people are reconstructed.

Head: `{head}` (sha256 `{head_digest}`).{derived}

| stage | steps | held-out loss at the start | at the end | best prediction that ignores the input | core hours | data |
|---|---|---|---|---|---|---|
{rows}

{energy}`jobs/evaluate.py what=avatar` measures a bundle on held-out people and portraits by tone and yaw; the program's
`docs/report` has these figures of the bundle that it ships.

Do not use it to identify people or to make decisions about them. {limits}
"""
_DERIVED = (
    " Its shapes are derived from ICT-FaceKit, statistics of scanned people by the USC Institute for Creative "
    "Technologies (MIT licence: `LICENSE.ict`). Whom the scans show is not published, so it is not known for whom "
    "shapes are right."
)
_LIGHTSTAGE = {
    "virtual": "**Trained on synthetic captures** of a virtual light stage",
    "avatars": "**Trained on synthetic captures** of a virtual light stage, some of whose people wear the skin of "
    "avatars that an earlier bundle made of photographs (a round of self-training)",
    "studio": "**Trained on captures of a light stage**, imported with `make_shards source=studio`",
    "unknown": "**Trained on light-stage captures** of unknown origin",
}
_VIRTUAL_WILD = "; renders of virtual people, without their ground truth, stand in for photographs"
_WILD = {
    "virtual": _VIRTUAL_WILD,
    "avatars": _VIRTUAL_WILD,
    "photographs": ", and on photographs without ground truth",
    "unknown": ", and on a wild data set of unknown origin",
}
_UNKNOWN = "unknown"
_WATTS = 10.0
"""Of a busy core, with its share of memory and cooling; an assumption."""
_OF_VIRTUAL_PEOPLE = (
    "Expect poor reconstructions of children, who are rare\non the virtual light stage, and of what it never shows: "
    "tinted glasses, face masks, jewellery and tattoos."
)
_LIMITS = {
    "virtual": _OF_VIRTUAL_PEOPLE,
    "avatars": _OF_VIRTUAL_PEOPLE,
    "studio": "Expect poor reconstructions of people unlike those captured.",
    "unknown": "Expect poor reconstructions of people unlike those captured.",
}


@dataclass(frozen=True)
class Assemble:
    """Attributes:

    preset: preset of the runs, which are named ``<stage>-<preset>``.
    bundle: name below ``bundles/`` of the storage root, absolute folder, or URI.
    storage: root of runs and bundles; default: MOSAR_STORAGE, else ~/.mosar.
    runs: stage -> name of its run, if it is not ``<stage>-<preset>``; of segmentation, if the bundle shall have its own
        instead of the shipped one. ``shipped`` in place of a name takes the stage as the program ships it; the default
        of morphable, if ``geometry`` was trained on it.
    """

    preset: str
    bundle: str = "mine"
    storage: str | None = None
    runs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bundle == bundle.RELEASED:
            raise ConfigError(
                f"bundle: got {bundle.RELEASED}, the name of the shipped one; give another name, and ship it with "
                "jobs/release.py"
            )


def main(config: Assemble) -> None:
    """Read the runs, check that they belong together, and write the bundle."""
    from mosar.models.head import load_head
    from mosar.models.head.head import DEFAULT_PATH, ICT_LICENCE_PATH
    from mosar.models.reconstruct import steps

    names = (*steps.stages(), *(name for name in steps.SHIPPED if name in config.runs))
    unknown = sorted(set(config.runs) - {*steps.stages(), *steps.SHIPPED})
    if unknown:
        known = ", ".join((*steps.stages(), *steps.SHIPPED))
        raise ConfigError(f"runs: unknown stage {unknown[0]!r}; expected some of {known}")
    root = storage.root(config.storage)
    runs = {n: storage.join(root, "runs", config.runs.get(n, f"{n}-{config.preset}")) for n in names}
    runs |= {name: shipped.SHIPPED for name, run_name in config.runs.items() if run_name == shipped.SHIPPED}
    if shipped.STAGE not in config.runs and _built_on(runs["geometry"]) == shipped.SHIPPED:
        runs[shipped.STAGE] = shipped.SHIPPED
    unfinished = [name for name, where in runs.items() if where != shipped.SHIPPED and run.summary(where) is None]
    if unfinished:
        raise ConfigError(f"runs: {', '.join(runs[n] for n in unfinished)} not finished; train them first")
    fingerprints = {name: run.fingerprint(where) for name, where in runs.items() if where != shipped.SHIPPED}
    if not fingerprints:
        raise ConfigError(f"runs: every stage is {shipped.SHIPPED}; that bundle is {bundle.RELEASED}")
    head_of = next(iter(fingerprints.values()))["head"]
    fingerprints |= {
        name: shipped.fingerprint(name, head_of) for name, where in runs.items() if where == shipped.SHIPPED
    }
    _belong_together(runs, fingerprints)
    path = head_of["path"]
    head = load_head(path)
    if head.digest != head_of["digest"]:
        raise DataError(f"head: {path or DEFAULT_PATH} is not the head that the runs were trained on; restore it")
    derived = head.digest == load_head().digest
    summaries = {
        name: shipped.summary(name)
        if where == shipped.SHIPPED
        else {**(run.summary(where) or {}), **_core_hours(run.metrics(where), fingerprints[name]["train"]["threads"])}
        for name, where in runs.items()
    }
    location = locate(config.bundle, config.storage)
    digest = bundle.write(
        location,
        storage.read_bytes(str(path or DEFAULT_PATH)),
        {name: _weights(name, where, path) for name, where in runs.items()},
        {name: stages.model_config(name, fingerprint["model"]) for name, fingerprint in fingerprints.items()},
        _card(config, head.name, head.digest, derived, fingerprints, summaries),
        {
            "preset": config.preset,
            "data": {name: _data(fingerprint) for name, fingerprint in fingerprints.items()},
            "runs": {n: {"location": w, **summaries[n]} for n, w in runs.items()},
            "warm_start": {n: about["warm_start"] for n, about in fingerprints.items() if "warm_start" in about},
        },
        {ICT_LICENCE_PATH.name: ICT_LICENCE_PATH.read_bytes()} if derived else {},
    )
    print(f"{location}: bundle {digest[:12]} of {', '.join(runs)}")


def _built_on(location: str) -> str | None:
    """Location of the morphable model that ``geometry`` was trained on; None if its run is not finished."""
    if location == shipped.SHIPPED:
        return shipped.SHIPPED
    if run.summary(location) is None:
        return None
    return str(run.fingerprint(location)["parents"][shipped.STAGE]["location"])


def _weights(stage: str, location: str, head: str | None) -> bytes:
    return shipped.weights(stage, head) if location == shipped.SHIPPED else run.weights_file(location)


def _belong_together(runs: Mapping[str, str], fingerprints: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that all runs use the same head, and that each was built on the parent weights that the bundle holds."""
    digests = {name: fingerprint["head"]["digest"] for name, fingerprint in fingerprints.items()}
    if len(set(digests.values())) > 1:
        raise DataError(f"runs were trained on different heads ({digests}); train them on the same head")
    for name, fingerprint in fingerprints.items():
        for parent, about in fingerprint["parents"].items():
            where = runs[parent]
            found = (shipped.parent(parent) if where == shipped.SHIPPED else run.summary(where) or {})["weights_sha256"]
            if found != about["weights_sha256"]:
                raise DataError(f"{runs[name]} was trained on other weights of {parent} than {runs[parent]} holds")


def _card(
    config: Assemble,
    head: str,
    head_digest: str,
    derived: bool,
    fingerprints: Mapping[str, Mapping[str, Any]],
    summaries: Mapping[str, Mapping[str, Any]],
) -> str:
    rows = [f"| {name} | shipped with the program | | | | | |" for name in fingerprints if not summaries.get(name)]
    for name, found in summaries.items():
        if not found:
            continue
        figures = [f"{found['heldout'][key]:.4g}" for key in ("start", "end", "baseline")]
        data = ", ".join(f"{s} {d['digest'][:12]}" for s, d in fingerprints[name]["data"].items())
        hours = f"{found['core_hours']:.2g}" if "core_hours" in found else "not recorded"
        rows.append(f"| {name} | {found['steps']} | {' | '.join(figures)} | {hours} | {data} |")
    sources: dict[str, str] = {}
    for stream, about in (pair for f in fingerprints.values() for pair in _data(f).items()):
        if sources.get(stream) != "avatars":  # told even if only some stages saw them
            sources[stream] = about["source"]
    stage, wild = (sources.get(stream, _UNKNOWN) for stream in ("lightstage", "wild"))
    return _CARD.format(
        preset=config.preset,
        others="".join(f"; {name}: `{run_name}`" for name, run_name in sorted(config.runs.items())),
        trained_on=f"{_LIGHTSTAGE.get(stage, _LIGHTSTAGE[_UNKNOWN])}{_WILD.get(wild, _WILD[_UNKNOWN])}.",
        started=_started(fingerprints),
        limits=_LIMITS.get(stage, _LIMITS[_UNKNOWN]),
        head=head,
        derived=_DERIVED if derived else "",
        head_digest=head_digest,
        rows="\n".join(rows),
        energy=_energy(summaries),
    )


def _core_hours(metrics: Sequence[Mapping[str, Any]], threads: int) -> dict[str, float]:
    """``core_hours`` of all workers in the steps that a run logged, without starts and evaluations; empty on a GPU."""
    steps = [line for line in metrics if "steps_per_s" in line]
    if not steps or any(line["device"] != "cpu" for line in steps):
        return {}
    before = [0, *(line["step"] for line in steps[:-1])]
    seconds = (
        line["workers"] * threads * (line["step"] - first) / max(line["steps_per_s"], 1e-9)
        for first, line in zip(before, steps, strict=True)
    )
    return {"core_hours": sum(seconds) / 3600}


def _energy(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence on the energy of the training; empty if no stage recorded how long it took."""
    known = {name: found["core_hours"] for name, found in summaries.items() if "core_hours" in found}
    if not known:
        return ""
    spent = sum(known.values())
    return (
        f"Training {', '.join(known)} took {spent:.2g} core hours: {spent * _WATTS:.2g} Wh, if a busy core with its "
        f"share of the machine takes {_WATTS:g} W.\n"
    )


def _started(fingerprints: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence on the stages whose training went on from trained weights; empty if there are none."""
    begun = {name: about["warm_start"] for name, about in fingerprints.items() if "warm_start" in about}
    if not begun:
        return ""
    listed = ", ".join(f"{name} (sha256 `{of['weights_sha256'][:12]}`)" for name, of in begun.items())
    return f"The training went on from weights that an earlier one had left: {listed}. "


def _data(fingerprint: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The data sets of a run: stream -> facts, with the ``source=`` of ``make_shards`` that made it."""
    return {stream: {"source": _source(about), **about} for stream, about in fingerprint["data"].items()}


def _source(about: Mapping[str, Any]) -> str:
    try:
        recipe = Manifest(about["location"]).about.get("recipe", {}) if "location" in about else {}
    except DataError:
        return _UNKNOWN  # the data set is lost
    recipe = recipe.get("captures", recipe)  # of the captures that estimates were added to
    return "avatars" if "avatars" in recipe else str(recipe.get("source", _UNKNOWN))


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, Assemble, "assemble"))
