"""List the photographs of a folder that belong to the validation split, for ``exclude=`` of make_shards.

python jobs/list_held_out.py folder=/data/portraits out=held_out.txt

Official portraits (a letter and six digits) are listed if the number ends in 9; other names by their hash, one in ten.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from mosar.errors import ConfigError
from mosar.jobs import hydra_main
from mosar.jobs.sources import image_files
from mosar.jobs.sources.held_out import validation_names
from mosar.platform import storage


@dataclass(frozen=True)
class ListHeldOut:
    """Attributes:

    folder: folder of photographs (files, tars, Parquet); a path or fsspec URI.
    out: file to write, one name a line.
    """

    folder: str
    out: str


def main(config: ListHeldOut) -> None:
    found = image_files.find_image_files(config.folder)
    names = validation_names(picture.name for picture in found)
    if not names:
        raise ConfigError(f"folder: none of the {len(found)} photographs in {config.folder} is of the validation split")
    out = config.out if storage.is_uri(config.out) else str(Path(config.out).expanduser().absolute())
    storage.write_bytes(out, "".join(f"{name}\n" for name in names).encode())
    print(f"{config.out}: {len(names)} of {len(found)} photographs")


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, ListHeldOut, "list_held_out"))
