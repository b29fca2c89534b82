"""``mosar info``: what a bundle or an avatar is."""

import argparse
from pathlib import Path

from mosar.bundle import locate
from mosar.errors import BundleError, DataError
from mosar.jobs.commands import avatar_folder
from mosar.jobs.commands.avatar_facts import avatar_facts
from mosar.jobs.commands.bundle_facts import bundle_facts
from mosar.jobs.commands.parser import Commands, add_command, add_storage

_ABOUT = """Say what a bundle or an avatar is: its digest, what it was made from, its sizes and date, and remarks.

Exit code: 0 if all went well, 2 for unusable input."""
_EXAMPLES = """  mosar info me/                                # an avatar
  mosar info out/demo/storage/bundles/demo      # a bundle by its folder
  mosar info released                           # the shipped bundle; or a name in bundles/ of the storage root"""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    command = add_command(commands, "info", run, "say what a bundle or an avatar is", _ABOUT, _EXAMPLES)
    command.add_argument(
        "what", metavar="BUNDLE|AVATAR", help="folder of an avatar, or folder, URI or name of a bundle"
    )
    add_storage(command)


def run(arguments: argparse.Namespace) -> int:
    """Print the facts."""
    folder = Path(arguments.what)
    if (folder / avatar_folder.FACTS).is_file():
        print(avatar_facts(folder))
        return 0
    try:
        print(bundle_facts(locate(arguments.what, arguments.storage)))
    except BundleError as error:
        if folder.is_dir():  # its own sentence says what is in it
            avatar_folder.check(folder)
        raise DataError(f"{arguments.what}: neither an avatar's folder nor a bundle ({error})") from error
    return 0
