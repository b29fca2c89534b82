"""``mosar relight``: a picture of an avatar under another light."""

import argparse
import sys
from pathlib import Path

from mosar.errors import ConfigError
from mosar.jobs.commands import avatar_folder, light
from mosar.jobs.commands.parser import Commands, add_command
from mosar.platform.storage import check_writable, replace_file

_ABOUT = """Write a picture of an avatar under another light, through the photograph's camera: a PNG file of the
photograph's size, transparent where there is no head.

Exit code: 0 if all went well, 2 for unusable input, 1 if something failed, 130 if interrupted."""
_EXAMPLES = """  mosar relight me/ --light studio                     # me-studio.png
  mosar relight me/ --light sunset.hdr -o me-at-sunset.png
  mosar relight me/ --light 60,20                      # a lamp 60 degrees to the subject's left, 20 degrees up
  mosar relight me/ --light -60,20 --exposure 1        # twice as bright"""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    command = add_command(commands, "relight", run, "show an avatar under another light", _ABOUT, _EXAMPLES)
    command.add_argument("avatar", type=Path, metavar="AVATAR", help="folder that `mosar reconstruct` wrote")
    avatar_folder.add_head(command)
    light.add_light(command, required=True)
    light.add_exposure(command)
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE.png",
        help="default: named after avatar and light, in the current folder",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the picture."""
    avatar_folder.check(arguments.avatar)
    given = light.parse(arguments.light)
    word = Path(arguments.light).stem if isinstance(given, str) else arguments.light
    output = arguments.output or avatar_folder.default_picture(arguments.avatar, word, ".png")
    if output.suffix.lower() != ".png":
        raise ConfigError(f"{output}: expected a file name that ends in .png")
    check_writable(output)
    print(f"opening {arguments.avatar}", file=sys.stderr, flush=True)
    import mosar

    picture = mosar.open(arguments.avatar, arguments.head).relight(given, arguments.exposure).render()
    from mosar.avatar.encode import png

    replace_file(output, png(picture))
    print(f"{output}: {picture.shape[1]} x {picture.shape[0]} pixels")
    return 0
