"""``mosar reconstruct``: photographs to avatars."""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mosar.bundle import RELEASED, locate
from mosar.errors import BundleError, ConfigError, PhotographError, RunError
from mosar.jobs.commands import failures, finished, photograph_files
from mosar.jobs.commands.parser import Commands, add_command, add_storage, number
from mosar.jobs.commands.photograph_files import PhotographFile
from mosar.jobs.commands.photograph_workers import Outcome, Task, Work, at_once, one_by_one
from mosar.jobs.progress_bar import is_shown, step_bar, with_bar
from mosar.platform.storage import bundle as bundles

if TYPE_CHECKING:
    from mosar import Reconstructor

_ABOUT = """Reconstruct an avatar from one photograph, or one from each of several photographs.

One image file: the avatar's files are written into the folder DIR. Several files, a folder (the images directly in
it) or a quoted pattern (** goes into folders): each avatar gets a folder in DIR that is named after its photograph.
An avatar that is there already, of the same photograph, bundle and settings, is kept. So after an interruption the
same command goes on where it was.

With --same-person all photographs show one person: their avatars share the neutral mesh and the tone of the skin.

Exit code: 0 if all went well, 2 for unusable input, 1 if something failed, 130 if interrupted."""
_EXAMPLES = """  mosar reconstruct me.jpg -o me/
  mosar reconstruct me.jpg -o me/ --bundle out/demo/storage/bundles/demo
  mosar reconstruct front.jpg side.jpg -o me/ --same-person
  mosar reconstruct ann.jpg bob.jpg -o avatars/           # avatars/ann, avatars/bob
  mosar reconstruct portraits/ -o avatars/ --keep-going   # goes on after bad photographs and lists them
  mosar reconstruct portraits/ -o avatars/ --workers 4    # four photographs at once
  mosar reconstruct 'portraits/**/*.jpg' -o avatars/ --size 1024 --face largest"""
_SIZES = ("auto", "512", "1024", "2048", "4096")


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    command = add_command(commands, "reconstruct", run, "make avatars from photographs", _ABOUT, _EXAMPLES)
    command.add_argument("photo", nargs="+", metavar="PHOTO", help="an image file, a folder or a quoted pattern")
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the avatar or avatars; made if missing",
    )
    command.add_argument(
        "--bundle",
        default=RELEASED,
        help="folder, URI, or name in bundles/ of the storage root; default: the one that the program ships",
    )
    add_storage(command)
    command.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    command.add_argument(
        "--threads",
        type=number(int, 1, 1024),
        default=1,
        metavar="N",
        help="torch threads; more than 1 help if cores are idle",
    )
    command.add_argument(
        "--workers",
        type=number(int, 1, 256),
        default=1,
        metavar="N",
        help="processes that reconstruct photographs at once (default: 1); each takes a core and 1.5 to 6 GB of memory",
    )
    command.add_argument(
        "--fit-steps", type=number(int, 0, 1000), default=8, metavar="N", help="steps of the shape fit, 0 for none"
    )
    command.add_argument(
        "--fit-seconds",
        type=number(float, 0.001, 1e6),
        metavar="S",
        help="end the shape fit earlier, after so many seconds (default: never)",
    )
    command.add_argument("--same-person", action="store_true", help="all photographs show one person")
    command.add_argument(
        "--size", type=_size, help=f"texels a side of the maps: auto (default), {', '.join(_SIZES[1:])}"
    )
    command.add_argument("--face", type=_face, default="only", help="which of several: largest, or N from the left")
    command.add_argument("--targets", choices=("arkit", "talking"), default="arkit", help="morph targets of the GLB")
    command.add_argument(
        "--keep-going", action="store_true", help="go on after a bad photograph; exit code 1 at the end"
    )
    command.add_argument("--again", action="store_true", help="also make avatars that are there already")


@dataclass
class _Progress:
    """What became of the photographs so far; ``failed``: the reason of each one that failed."""

    files: Sequence[PhotographFile]
    kept: int = 0
    made: int = 0
    failed: dict[Path, str] = field(default_factory=dict)

    @property
    def done(self) -> str:
        return f"{self.made + self.kept} of {len(self.files)} photographs are done"


def run(arguments: argparse.Namespace) -> int:
    """Make the avatars; 1 if any failed."""
    # What is missing is noticed before anything is loaded.
    photographs, remarks = photograph_files.find(arguments.photo)
    files = photograph_files.with_folders(photographs, arguments.photo, arguments.output)
    if arguments.same_person and arguments.keep_going:
        raise ConfigError("--keep-going: got it with --same-person, whose avatars need all photographs; leave it out")
    location = locate(arguments.bundle, arguments.storage)
    bundles.read_manifest(location)
    for remark in remarks:
        _say(f"note: {remark}")
    progress = _Progress(files)
    waiting = _waiting(arguments, location, progress)
    if waiting:
        try:
            _reconstruct_all(arguments, location, waiting, progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{progress.done}; the same command goes on") from None
        except PhotographError as error:
            if len(files) == 1:
                raise
            if arguments.same_person:
                raise PhotographError(f"{error} (leave this photograph out)") from error
            raise PhotographError(
                f"{error} ({progress.done}; leave this photograph out, or pass --keep-going)"
            ) from error
    _report(arguments.output, progress)
    return 1 if progress.failed else 0


def _waiting(arguments: argparse.Namespace, location: str, progress: _Progress) -> list[Task]:
    """The photographs whose avatars are to be made, and what each is made from."""
    settings = {name: getattr(arguments, name) for name in ("face", "fit_steps", "fit_seconds", "size", "targets")}
    if arguments.same_person:
        settings["person"] = [finished.origin(file.path, {})["photograph_sha256"] for file in progress.files]
    bundle_digest = bundles.digest_of(location)
    waiting: list[Task] = []
    kept: list[PhotographFile] = []
    for file in progress.files:
        made_from = finished.origin(file.path, settings)
        if not arguments.again and finished.is_finished(file.avatar, made_from, bundle_digest):
            kept.append(file)
        else:
            waiting.append((file, made_from))
    if arguments.same_person and 0 < len(waiting) < len(progress.files):
        # Avatars of one person are made together; those that are there are made again.
        return [(file, finished.origin(file.path, settings)) for file in progress.files]
    progress.kept = len(kept)
    for file in kept:
        print(f"{file.avatar}: kept, it is of this photograph by this bundle (--again makes it anew)")
    return waiting


def _reconstruct_all(
    arguments: argparse.Namespace,
    location: str,
    waiting: Sequence[Task],
    progress: _Progress,
) -> None:
    options = {name: getattr(arguments, name) for name in ("device", "fit_steps", "fit_seconds", "threads", "size")}
    work = Work(location, options, arguments.face, arguments.targets)
    _say(f"loading the bundle {location}")
    if arguments.same_person:
        with work.load() as reconstructor:
            _reconstruct_person(reconstructor, arguments, waiting)
        progress.made = len(waiting)
        return
    if len(waiting) == 1:
        ((file, _),) = waiting
        _say(f"reconstructing {file.path}")
        with work.load() as reconstructor, _kept_going(arguments, progress, file), step_bar() as told:
            for remark in work.make(reconstructor, waiting[0], told):
                _say(f"note: {remark}")
            progress.made = 1
        return
    bar = is_shown()
    made = _outcomes(work, waiting, arguments.workers, announced=not bar)
    # Processes are forked before the bar starts its thread, and the bar ends before an error is told.
    with made as outcomes, contextlib.closing(with_bar(outcomes, "photographs", bar, len(waiting))) as shown:
        for outcome in shown:
            with _kept_going(arguments, progress, outcome.file):
                if outcome.error is not None:
                    raise outcome.error
                for remark in outcome.remarks:
                    _say(f"note: {outcome.file.path}: {remark}")
                print(f"{outcome.file.avatar}: reconstructed")
                progress.made += 1


def _outcomes(
    work: Work, waiting: Sequence[Task], workers: int, announced: bool
) -> contextlib.AbstractContextManager[Iterator[Outcome]]:
    def announce(number: int, file: PhotographFile) -> None:
        if announced:
            _say(f"reconstructing {file.path} ({number} of {len(waiting)})")

    if workers > 1:
        return at_once(work, waiting, workers)
    return contextlib.closing(one_by_one(work, waiting, announce))


@contextlib.contextmanager
def _kept_going(arguments: argparse.Namespace, progress: _Progress, file: PhotographFile) -> Iterator[None]:
    """Note an error of a photograph if the command shall go on after it.

    That nothing can be written, that the bundle cannot be read, or that a process died, concerns all photographs.
    """
    try:
        yield
    except Exception as error:
        if not arguments.keep_going or isinstance(error, ConfigError | BundleError | RunError):
            raise
        known = isinstance(error, PhotographError)
        progress.failed[file.path] = str(error) if known else f"{type(error).__name__}: {error}"


def _reconstruct_person(
    reconstructor: "Reconstructor",
    arguments: argparse.Namespace,
    waiting: Sequence[Task],
) -> None:
    """Avatars of one person."""
    with step_bar() as progress:
        avatars = reconstructor([file.path for file, _ in waiting], arguments.face, progress)
    for (file, made_from), avatar in zip(waiting, avatars, strict=True):
        for remark in avatar.remarks:
            _say(f"note: {file.path}: {remark}")
        replace(avatar, made_from=made_from).save(file.avatar, arguments.targets)
        print(f"{file.avatar}: reconstructed")


def _report(output: Path, progress: _Progress) -> None:
    if progress.failed:
        failures.show(progress.failed)
    if progress.files[0].avatar == output:
        if not progress.failed:
            print(f"{output / 'sheet.png'}: overview of the avatar")
            print(f"{output / 'avatar.glb'}: the head, for any glTF viewer")
        return
    print(f"{output}: {progress.made} reconstructed, {progress.kept} kept, {len(progress.failed)} failed")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _face(text: str) -> str | int:
    if text in {"only", "largest"}:
        return text
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise argparse.ArgumentTypeError(f"got {text!r}, expected largest, or a number from 1, counted from the left")


def _size(text: str) -> int | None:
    if text not in _SIZES:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected one of {', '.join(_SIZES)}")
    return None if text == "auto" else int(text)
