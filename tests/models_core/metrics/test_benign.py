import pytest

from models_core.metrics.benign import benign_rate, share


def test_benign_means_seven_tenths_or_more():
    assert benign_rate([0.7, 0.69, 0.71, 0.0]).value == 0.5


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    # Wilson's interval at z = 1.959964, by hand: (p + z²/2n ± z√(p(1−p)/n + z²/4n²)) / (1 + z²/n)
    [(80, 100, 0.711165, 0.866635), (0, 50, 0.0, 0.071350), (1000, 1000, 0.996173, 1.0)],
)
def test_the_interval_is_wilsons(count, of, low, high):
    found = share(count, of)
    assert found.value == count / of
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-5)
