"""Configuration of an HTTP endpoint."""

from dataclasses import dataclass
from pathlib import Path

from mosar.errors import ConfigError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServingConfig:
    """Address and limits of the endpoint.

    Attributes:
        host: address on which it listens; any but loopback requires ``key_file``.
        port: TCP port.
        replicas: processes that answer requests.
        cpus: logical CPUs of each replica.
        gpus: GPUs of each replica.
        threads: torch threads of each replica; more help only if cores are idle.
        max_body_mb: largest body of a request, MB.
        max_queued: requests that wait in a replica at most; those beyond get 503.
        stall_s: seconds; a body of which nothing arrives for so long gets 408.
        key_file: absolute path of a file with the key that clients send as ``Authorization: Bearer KEY``.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    replicas: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    threads: int = 1
    max_body_mb: float = 32.0
    max_queued: int = 32
    stall_s: float = 10.0
    key_file: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise ConfigError(f"serving.port: got {self.port}, expected 1 to 65535")
        if min(self.replicas, self.threads, self.max_queued) < 1 or min(self.max_body_mb, self.stall_s) <= 0:
            raise ConfigError("serving: replicas, threads, max_queued, max_body_mb and stall_s must be positive")
        if self.key_file and not Path(self.key_file).is_absolute():
            raise ConfigError(f"serving.key_file: got {self.key_file!r}, expected an absolute path")
        if self.key_file and not Path(self.key_file).is_file():
            raise ConfigError(f"serving.key_file: there is no file {self.key_file}")
        if self.host not in _LOOPBACK and not self.key_file:
            raise ConfigError(f"serving.host: {self.host} is not loopback; set serving.key_file as well")
