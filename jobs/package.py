"""Pack the code for ``ray job submit``: ``--working-dir $(python jobs/package.py)``; prints the zip's path.

It holds the files that git tracks and new ones that it does not ignore, as they are now, and the revision, so that the
record of a submitted run names it. Links, sockets and pipes are left out: Ray's own packing follows links in circles.
"""

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from mosar.errors import ConfigError
from mosar.jobs import hydra_main
from mosar.platform.runs import run

ROOT = Path(__file__).resolve().parents[1]
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Package:
    """Attributes:

    output: zip to write.
    """

    output: str = str(ROOT / "out" / "code.zip")


def main(config: Package) -> None:
    path = Path(config.output).expanduser().absolute()
    pack(ROOT, path)
    print(path)


def pack(folder: Path, output: Path) -> None:
    """Write the zip of a clone. The same files give the same bytes, so that Ray uploads them once.

    Raises:
        ConfigError: the folder is not a git clone.
    """
    listing = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(
            f"{folder}: git cannot list its files, so it cannot be packed; submit it with --working-dir ."
        ) from error
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_suffix(".part")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(run.REVISION_FILE, _EPOCH), run.revision(folder))
        for name in sorted(set(filter(None, names))):
            if (folder / name).is_file() and not (folder / name).is_symlink():
                info = zipfile.ZipInfo(name, _EPOCH)
                info.external_attr = (folder / name).stat().st_mode << 16
                archive.writestr(info, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
    temporary.replace(output)


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, Package, "package"))
