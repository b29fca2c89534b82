"""The command line: ``mosar reconstruct``, ``relight``, ``turntable`` and ``info``. No cluster is needed."""

import os
import sys
from collections.abc import Sequence

from mosar import __version__
from mosar.errors import InputError, RunError
from mosar.jobs import system_libraries
from mosar.jobs.commands import info, light, reconstruct, relight, turntable
from mosar.jobs.commands.parser import Parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 on success, 2 for invalid input, 1 if the run fails, 130 if interrupted."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    # Threads that wait must not spin on cores that others need. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    parser = Parser(prog="mosar", description="Relightable 3D head avatars from photographs.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for command in (reconstruct, relight, turntable, info):
        command.add(commands)
    try:
        arguments = parser.parse_args(light.with_joined_angles(sys.argv[1:] if argv is None else argv))
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read what is printed has left, as head(1) does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(": ".join(["interrupted", *map(str, error.args)]), file=sys.stderr)
        return 130
    except Exception as error:
        lacking = system_libraries.missing(error)
        if lacking is None:
            raise
        print(f"failed: {lacking}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
