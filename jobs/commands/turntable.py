"""``mosar turntable``: an animation of an avatar."""

import argparse
import sys
from pathlib import Path

from mosar.jobs.commands import avatar_folder, light
from mosar.jobs.commands.parser import Commands, add_command, number
from mosar.platform.storage import check_writable, replace_file
from mosar.turntable_plan import LENGTHS_S, RATES, SIZES, TurntablePlan

_ABOUT = """Write an animation of an avatar: first the head turns once while the light stays in place, then the light
goes round the head once. A .gif file runs in a loop; a .webm file (VP8) is smaller and has all colours.

Exit code: 0 if all went well, 2 for unusable input, 1 if something failed, 130 if interrupted."""
_EXAMPLES = """  mosar turntable me/ -o me.gif
  mosar turntable me/ -o me.webm --size 720 --seconds 12 --fps 30
  mosar turntable me/ -o me.gif --light 60,20          # in place of the photograph's light"""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    plan = TurntablePlan()
    command = add_command(commands, "turntable", run, "animate head and light of an avatar", _ABOUT, _EXAMPLES)
    command.add_argument("avatar", type=Path, metavar="AVATAR", help="folder that `mosar reconstruct` wrote")
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="file name that ends in .gif or .webm"
    )
    avatar_folder.add_head(command)
    light.add_light(command, required=False, default="; default: the photograph's")
    light.add_exposure(command)
    for name, kind, limits, default, what in (
        ("--size", int, SIZES, plan.size, "side of the square pictures in pixels, an even number"),
        ("--seconds", float, LENGTHS_S, plan.seconds, "length"),
        ("--fps", int, RATES, plan.rate, "pictures per second"),
    ):
        meaning = f"{what}, {limits[0]:g} to {limits[1]:g} (default {default:g})"
        command.add_argument(name, type=number(kind, *limits), default=default, metavar="N", help=meaning)


def run(arguments: argparse.Namespace) -> int:
    """Write the animation."""
    from mosar import animation

    avatar_folder.check(arguments.avatar)
    given = light.parse(arguments.light) if arguments.light else None
    plan = TurntablePlan(arguments.size, arguments.seconds, arguments.fps)
    ending = animation.check_ending(arguments.output)
    check_writable(arguments.output)
    print(f"opening {arguments.avatar}", file=sys.stderr, flush=True)
    import mosar
    from mosar.avatar.turntable import pictures
    from mosar.jobs.progress_bar import with_bar

    avatar = mosar.open(arguments.avatar, arguments.head)
    avatar = avatar.relight(avatar.light_1lc[0].numpy() if given is None else given, arguments.exposure)
    drawn = pictures(avatar, with_bar(plan.views, "pictures"), plan.size)
    content = animation.encode(drawn, ending, plan.rate)
    replace_file(arguments.output, content)
    print(
        f"{arguments.output}: {len(plan.views)} pictures of {plan.size} x {plan.size} pixels, {plan.seconds:g} s, "
        f"{len(content) / 1e6:.1f} MB"
    )
    return 0
