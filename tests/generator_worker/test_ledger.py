from generator_worker.ledger import SCORE_BUCKETS, Counts, Ledger


def test_counts_survive_the_process_and_end_with_the_next_start(tmp_path):
    file = tmp_path / "ledger.json"
    Ledger(file).made(10, 7, 2.5, {"unsafe": 3})
    Ledger(file).made(8, 8, 1.5, {})
    Ledger(file).failed("too-long")
    Ledger(file).failed("too-long")
    Ledger(file).fetched(1000)
    counts = Ledger(file).read()
    assert (counts.batches, counts.drawn, counts.images, counts.seconds) == (2, 18, 15, 4.0)
    assert (counts.dropped, counts.failures) == ({"unsafe": 3}, {"too-long": 2})
    assert counts.fetched_bytes == 1000
    Ledger(file).clear()
    assert Ledger(file).read() == Counts()


def test_scores_fall_into_buckets_whose_upper_edge_is_theirs(tmp_path):
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.judged([0.0, 0.05, 0.0501, 0.7, 1.0, float("nan")])
    counts = ledger.read()
    filled = [(SCORE_BUCKETS[i], n) for i, n in enumerate(counts.scores) if n]
    assert filled == [(0.05, 2), (0.1, 1), (0.7, 1), (1.0, 1)]
    assert round(counts.score_sum, 4) == 1.8001


def test_a_half_written_ledger_counts_from_nought(tmp_path):
    (tmp_path / "ledger.json").write_text('{"batches": ')
    assert Ledger(tmp_path / "ledger.json").read() == Counts()
