"""The command line: ``mosar reconstruct PHOTO -o DIR``. No cluster is needed."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mosar import __version__
from mosar.bundle import locate
from mosar.errors import ConfigError, InputError, PhotographError, RunError
from mosar.jobs import system_libraries
from mosar.platform.storage import bundle as bundles


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 on success, 2 for invalid input, 1 if the run fails, 130 if interrupted."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    # Threads that wait must not spin on cores that others need. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    parser = argparse.ArgumentParser(prog="mosar", description="Relightable 3D head avatars from one photograph.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("reconstruct", help="reconstruct an avatar from one photograph")
    command.add_argument("photo", type=Path, help="an image file with exactly one face")
    command.add_argument("-o", "--output", type=Path, required=True, help="folder for the avatar; created if missing")
    command.add_argument("--bundle", default="default", help="folder, URI, or name in bundles/ of the storage root")
    command.add_argument("--storage", help="storage root (default: MOSAR_STORAGE, else ~/.mosar)")
    command.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    command.add_argument("--threads", type=int, default=1, help="torch threads; more than 1 help if cores are idle")
    command.add_argument("--fit-steps", type=int, default=8, help="steps of the shape fit, 0 for none")
    command.add_argument(
        "--size", type=_size, help="texels a side of the maps: auto (default), 512, 1024, 2048 or 4096"
    )
    command.add_argument("--face", type=_face, default="only", help="which of several: largest, or N from the left")
    command.add_argument("--targets", choices=("arkit", "talking"), default="arkit", help="morph targets of the GLB")
    command.set_defaults(run=_reconstruct)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        lacking = system_libraries.missing(error)
        if lacking is None:
            raise
        print(f"failed: {lacking}", file=sys.stderr)
        return 1
    return 0


def _face(text: str) -> str | int:
    return int(text) if text.isdigit() else text


def _reconstruct(arguments: argparse.Namespace) -> None:
    # What is missing is noticed before anything is loaded.
    if not arguments.photo.is_file():
        raise PhotographError(f"{arguments.photo}: no such file; give an image file")
    if arguments.output.exists() and not arguments.output.is_dir():
        raise ConfigError(f"output: {arguments.output} is a file, expected a folder or a new name")
    if arguments.fit_steps < 0 or arguments.threads < 1:
        raise ConfigError("--fit-steps: expected 0 or more; --threads: expected 1 or more")
    location = locate(arguments.bundle, arguments.storage)
    bundles.read_manifest(location)
    import mosar

    options = {"device": arguments.device, "fit_steps": arguments.fit_steps, "threads": arguments.threads}
    options["size"] = arguments.size
    print(f"loading the bundle {location}", file=sys.stderr, flush=True)
    with mosar.load(location, **options) as reconstructor:
        print(f"reconstructing {arguments.photo}", file=sys.stderr, flush=True)
        avatar = reconstructor(arguments.photo, arguments.face)
    for remark in avatar.remarks:
        print(f"note: {remark}", file=sys.stderr)
    avatar.save(arguments.output, arguments.targets)
    print(f"{arguments.output / 'sheet.png'}: overview of the avatar")
    print(f"{arguments.output / 'avatar.glb'}: the head, for any glTF viewer")


def _size(text: str) -> int | None:
    return None if text == "auto" else int(text)


if __name__ == "__main__":
    sys.exit(main())
