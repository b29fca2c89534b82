"""Every error that the project raises on purpose.

MosarError
├── InputError             the user's input cannot be used: exit code 2, HTTP 4xx
│   ├── ConfigError        unknown key, impossible value, missing file
│   ├── DataError          damaged or inconsistent shard, manifest, head, mesh or avatar
│   ├── BundleError        missing, incomplete or altered bundle
│   └── PhotographError    not an image, too large, no face, several faces
└── RunError               a run started but failed: exit code 1
    └── StoppedError       a run stopped on request; the same command continues it: exit code 130
        └── UnheardError   no worker answered the request; workers that start later leave after their first step

A message says what was given, what was expected and how to fix it.
"""


class MosarError(Exception):
    """Base of all errors below."""


class InputError(MosarError):
    """The user's input cannot be used."""


class ConfigError(InputError):
    """A configuration with an unknown key, an impossible value or a missing file."""


class DataError(InputError):
    """A shard, manifest, head, mesh or avatar that is damaged or inconsistent."""


class BundleError(InputError):
    """A bundle that is missing, incomplete or altered."""


class PhotographError(InputError):
    """A photograph that cannot be read, or does not show exactly one face."""


class RunError(MosarError):
    """A run that started but failed."""


class StoppedError(RunError):
    """A run that stopped on request; the same command continues it."""


class UnheardError(StoppedError):
    """A run that was asked to stop, but none of its workers answered."""
