"""The command line: ``mosar reconstruct PHOTO -o DIR``. No cluster is needed."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mosar import __version__
from mosar.errors import InputError, RunError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 on success, 2 for invalid input, 1 if the run fails, 130 if interrupted."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    parser = argparse.ArgumentParser(prog="mosar", description="Relightable 3D head avatars from one photograph.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("reconstruct", help="reconstruct an avatar from one photograph")
    command.add_argument("photo", type=Path, help="an image file with exactly one face")
    command.add_argument("-o", "--output", type=Path, required=True, help="folder for the avatar; created if missing")
    command.add_argument("--bundle", default="default", help="folder, URI, or name in bundles/ of the storage root")
    command.add_argument("--storage", help="storage root (default: MOSAR_STORAGE, else ~/.mosar)")
    command.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    command.add_argument("--refine-steps", type=int, default=80, help="landmark refinement steps, 0 for none")
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
    return 0


def _reconstruct(arguments: argparse.Namespace) -> None:
    import mosar

    options = {"storage": arguments.storage, "device": arguments.device, "refine_steps": arguments.refine_steps}
    with mosar.load(arguments.bundle, **options) as reconstructor:
        reconstructor(arguments.photo).save(arguments.output)
    print(f"{arguments.output / 'sheet.png'}: overview of the avatar")
    print(f"{arguments.output / 'avatar.glb'}: the head, for any glTF viewer")


if __name__ == "__main__":
    sys.exit(main())
