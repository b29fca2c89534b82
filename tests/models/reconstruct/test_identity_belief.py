"""What several photographs tell together of one person."""

import torch

from mosar.models.reconstruct import identity_belief
from mosar.models.reconstruct.identity_belief import Belief, add, together
from mosar.models.stages.geometry.points_network import Normal


def normal(mean: list[float], variance: list[float]) -> Normal:
    return Normal(torch.tensor([mean]), torch.tensor([variance]).log())


def test_one_answer_stays_what_it_is() -> None:
    answer = normal([0.3, -1.0], [0.5, 1.2])
    assert together([answer]) is answer


def test_independent_measurements_are_combined_as_a_gaussian_posterior(monkeypatch) -> None:
    monkeypatch.setattr(identity_belief, "CORRELATION", 0.0)
    # A code with a standard normal prior is measured as 1 and as 2, each with the variance 0.5.
    posteriors = [normal([y / 0.5 / 3.0], [1.0 / 3.0]) for y in (1.0, 2.0)]
    found = together(posteriors)
    torch.testing.assert_close(found.mean_bk, torch.tensor([[3.0 / 0.5 / 5.0]]))
    torch.testing.assert_close(found.log_variance_bk.exp(), torch.tensor([[0.2]]))


def test_a_repeated_answer_adds_less_than_a_new_one() -> None:
    answer = normal([1.0], [0.25])
    both = together([answer, answer])
    assert 0.1 < float(both.log_variance_bk.exp()) < 0.25
    assert 1.0 < float(both.mean_bk) < 1.2  # less of the prior's zero remains


def test_the_prior_of_beliefs_counts_once() -> None:
    generator = torch.Generator().manual_seed(0)
    prior = normal([0.1, -0.2, 0.3], [0.8, 0.5, 0.9])
    alone = torch.diag((-prior.log_variance_bk[0]).exp())
    rows = torch.randn(2, 4, 3, generator=generator)
    seen = torch.randn(2, 4, generator=generator)

    def posterior(rows_n3: torch.Tensor, seen_n: torch.Tensor) -> Belief:
        precision = alone + rows_n3.T @ rows_n3
        mean = torch.linalg.solve(precision, alone @ prior.mean_bk[0] + rows_n3.T @ seen_n)
        return Belief(mean[None], precision)

    found = add(prior, [posterior(r, s) for r, s in zip(rows, seen, strict=True)])
    true = posterior(rows.flatten(0, 1), seen.flatten())
    torch.testing.assert_close(found.mean_1k, true.mean_1k)
    torch.testing.assert_close(found.precision_kk, true.precision_kk)
