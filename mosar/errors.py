"""Every error that the project raises on purpose.

MosarError
├── InputError             what the user gave cannot be used: exit code 2, HTTP 4xx
│   ├── ConfigError        unknown key, impossible value, missing file
│   ├── DataError          shard, manifest, head or mesh that is not what it says it is
│   ├── BundleError        bundle that is missing, incomplete or altered
│   └── PhotographError    not an image, too large, no face, several faces
└── RunError               a run that started well and could not go on: exit code 1
    └── StoppedError       a run that was asked to stop, and goes on by the same command: exit code 130
        └── UnheardError   none of its workers answered: some may still start, and leave after their first step

A message says what was given, what was expected and how to mend it.
"""


class MosarError(Exception):
    """Base of all errors below."""


class InputError(MosarError):
    """What the user gave cannot be used."""


class ConfigError(InputError):
    """A configuration with an unknown key, an impossible value or a missing file."""


class DataError(InputError):
    """A shard, manifest, head or mesh that is not what it says it is."""


class BundleError(InputError):
    """A bundle that is missing, incomplete or altered."""


class PhotographError(InputError):
    """A photograph that cannot be read, or does not show exactly one face."""


class RunError(MosarError):
    """A run that started well and could not go on."""


class StoppedError(RunError):
    """A run that was asked to stop; the same command goes on with it."""


class UnheardError(StoppedError):
    """A run that was asked to stop, while none of its workers answered."""
