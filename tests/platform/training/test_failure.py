"""A run that failed before it began, for a reason that a second start mends, is started again, and no other."""

import contextlib

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError
from ray.train.v2.api.exceptions import ControllerError

from mosar.platform.training import failure


@pytest.mark.parametrize(("ran", "deaths", "starts"), [(False, 2, 3), (False, 9, 4), (True, 9, 1)])
def test_only_what_never_ran_is_started_again(
    ran: bool, deaths: int, starts: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def train() -> None:
        seen.append(1)
        if len(seen) <= deaths:
            raise ActorDiedError(ActorDiedErrorContext(actor_id=bytes(16), never_started=not ran))

    if starts <= deaths:
        with pytest.raises(ActorDiedError):
            failure.begin(train, "run", retries=3)
    else:
        failure.begin(train, "run", retries=3)
    assert len(seen) == starts
    assert capsys.readouterr().err.count("starting it again") == starts - 1


@pytest.mark.parametrize(("code", "starts"), [("EADDRINUSE", 2), ("ECONNREFUSED", 1)])
def test_workers_whose_port_was_taken_start_again(code: str, starts: int) -> None:
    seen = []

    def train() -> None:
        seen.append(1)
        if len(seen) == 1:
            raise ControllerError(RuntimeError(f"The server socket has failed to listen. code: -98, name: {code}"))

    with contextlib.suppress(ControllerError):
        failure.begin(train, "run", retries=3)
    assert len(seen) == starts
