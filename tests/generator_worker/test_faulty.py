import json

from generator_worker.faulty import FaultyReleases

ONE, TWO = "a" * 64, "b" * 64


def test_the_third_failure_in_a_row_makes_it_faulty_over_restarts(tmp_path):
    file = tmp_path / "faulty.json"
    assert not FaultyReleases(file, "1.0").failed(ONE, "first")
    assert not FaultyReleases(file, "1.0").failed(ONE, "second")
    assert FaultyReleases(file, "1.0").fault(ONE) is None
    assert FaultyReleases(file, "1.0").failed(ONE, "third")
    fault = FaultyReleases(file, "1.0").fault(ONE)
    assert (fault.reason, fault.failures, fault.release_digest) == ("third", 3, ONE)
    assert FaultyReleases(file, "1.0").listed() == (fault,)
    assert FaultyReleases(file, "1.0").fault(TWO) is None


def test_another_version_of_the_software_tries_again(tmp_path):
    file = tmp_path / "faulty.json"
    for _ in range(3):
        FaultyReleases(file, "1.0").failed(ONE, "old fault")
    assert FaultyReleases(file, "1.0").listed()
    assert FaultyReleases(file, "1.1").listed() == ()
    assert not FaultyReleases(file, "1.1").failed(ONE, "new fault")


def test_an_operator_forgives_one_or_all(tmp_path):
    book = FaultyReleases(tmp_path / "faulty.json", "1.0")
    assert book.forgive(ONE) == 0
    for digest in (ONE, TWO) * 3:
        book.failed(digest, "bad")
    assert book.forgive(ONE) == 1
    assert [fault.release_digest for fault in book.listed()] == [TWO]
    assert book.forgive() == 1
    assert book.listed() == ()


def test_a_book_nobody_can_read_is_an_empty_one(tmp_path):
    file = tmp_path / "faulty.json"
    for text in ("{", json.dumps({"software": "1.0", "releases": {ONE: {"failures": "many"}}})):
        file.write_text(text)
        assert FaultyReleases(file, "1.0").listed() == ()
