"""Requests to a scorer: their forms, histories, times and updates."""

import threading

import numpy as np
import pandas
import pytest

import recbole_nif
from recbole_nif.inference import Scorer
from tests.toy import ROWS
from tests.toy_runs import toy_run
from tests.unit.scorer.toy_requests import ITEMS, LAST, MODELS, NAMES, READ_HISTORY, close, events, of_user


def test_the_package_offers_the_scorer():
    assert recbole_nif.Scorer is Scorer


# -- requests say the same in every form


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_scores_as_its_rows_one_by_one(scorer, model):
    scorer = scorer(model)
    pairs = pandas.DataFrame(ROWS, columns=NAMES).sample(frac=1, random_state=1)
    scores = scorer.score_pairs(pairs)
    alone = [scorer.score(row.user_id, [row.item_id], at=row.timestamp)[0] for row in pairs.itertuples()]
    assert close(scores, alone) and np.unique(scores).size > 10


@pytest.mark.parametrize("model", MODELS)
def test_small_batches_score_as_large_ones(scorer, model):
    scorer = scorer(model)
    pairs = pandas.DataFrame(ROWS, columns=NAMES)
    whole, ranked = scorer.score_pairs(pairs), scorer.topk("b", 5, exclude_seen=False)
    scorer.engine.batch_size = 3
    assert close(scorer.score_pairs(pairs), whole)
    assert close(scorer.topk("b", 5, exclude_seen=False).score, ranked.score)


def test_without_a_time_everything_is_seen(scorer):
    scorer = scorer("AMEN")
    frame = pandas.DataFrame({"user_id": ["a"] * 10, "item_id": ITEMS})
    assert close(scorer.score_pairs(frame), scorer.score("a", ITEMS))
    assert close(scorer.score("a", ITEMS), scorer.score("a", ITEMS, at=LAST + 1))
    assert not close(scorer.score("a", ITEMS), scorer.score("a", ITEMS, at=LAST))


def test_events_of_the_time_itself_are_seen_with_history_ties_order_only(tmp_path, scorer):
    ordered = Scorer.load(toy_run(tmp_path, "NIFDIN", history_ties="order"), device="cpu")
    strict = scorer("NIFDIN")
    early = of_user("a").query("timestamp <= 1000000101")
    for one, seen in ((ordered, early), (strict, early.iloc[[0]])):
        assert close(one.score("a", ITEMS, at=1000000101), one.score("a", ITEMS, history=seen))


def test_events_behind_a_frozen_training_split_do_not_count(tmp_path):
    scorer = Scorer.load(toy_run(tmp_path, "NIFDIN", history_until="train"), device="cpu")
    rows = of_user("a").sort_values("timestamp")
    train = rows.iloc[:8]  # 8 : 1 : 1
    assert close(scorer.score("a", ITEMS), scorer.score("a", ITEMS, history=train))
    assert not close(scorer.score("a", ITEMS), scorer.score("a", ITEMS, history=rows))


def test_numbers_and_arrow_tables_are_understood(tmp_path):
    rows = [
        (place % 3 + 1, item.replace("m", ""), rating, time)
        for place, (_, item, rating, time) in enumerate(ROWS)
    ]
    scorer = Scorer.load(toy_run(tmp_path, "NIFDIN", rows), device="cpu")
    frame = pandas.DataFrame(rows, columns=NAMES)
    numbers = frame.assign(user_id=frame.user_id.astype(float), item_id=frame.item_id.astype(int))

    class Arrow:
        def to_pandas(self):
            return numbers

    texts = frame.assign(user_id=frame.user_id.astype(str))
    assert np.array_equal(scorer.score_pairs(Arrow()), scorer.score_pairs(texts))
    assert np.array_equal(scorer.score(2, [1, 2]), scorer.score("2", ["1", "2"]))


def test_the_index_of_a_table_says_nothing(scorer):
    scorer, pairs = scorer(), pandas.DataFrame(ROWS, columns=NAMES)
    odd = pairs.set_axis([7] * len(pairs))
    assert np.array_equal(scorer.score_pairs(odd), scorer.score_pairs(pairs))


# -- histories and updates


@pytest.mark.parametrize("model", MODELS)
def test_updates_between_scores_are_seen_at_once(scorer, model):
    """Interleaved: after each event the score is that of a scorer which reads the whole history anew."""
    lived, fresh = scorer(model), scorer(model, cache_size=0)
    rng, time, told = np.random.default_rng(0), LAST, of_user("a")[["item_id", "rating", "timestamp"]]
    for step in range(12):
        at = None if step % 3 else time + 1
        assert close(lived.score("a", ITEMS, at=at), fresh.score("a", ITEMS, history=told, at=at)), step
        assert close(lived.score("a", ITEMS, at=at), lived.score("a", ITEMS, at=at))
        time += int(rng.integers(0, 3)) * 40  # now and then at the same time
        new = events((rng.choice(ITEMS), int(rng.choice([1, 5])), time))
        lived.update("a", new)
        told = pandas.concat([told, new])
        if step % 4 == 0:
            pair = pandas.DataFrame({"user_id": ["b", "a"], "item_id": ["m2", "m3"]})
            expected = [fresh.score("b", ["m2"])[0], fresh.score("a", ["m3"], history=told)[0]]
            assert close(lived.score_pairs(pair), expected)
    assert lived.cache.hits >= 12


@pytest.mark.parametrize("model", READ_HISTORY)
def test_an_update_changes_the_score_of_its_user_only(scorer, model):
    scorer = scorer(model)
    before = {user: scorer.score(user, ITEMS) for user in "abc"}
    scorer.update("a", events(("m7", 5, LAST + 10), ("m1", 5, LAST + 20)))
    assert not close(scorer.score("a", ITEMS), before["a"])
    assert all(np.array_equal(scorer.score(user, ITEMS), before[user]) for user in "bc")


@pytest.mark.parametrize("model", READ_HISTORY)
def test_a_new_user_has_what_it_was_given(scorer, model):
    scorer = scorer(model)
    clicks = events(("m1", 5, 10), ("m2", 1, 20), ("m3", 4, 30))
    as_history = scorer.score(items=ITEMS, history=clicks)
    assert not close(as_history, scorer.score("new", ITEMS))
    for place in range(3):
        scorer.update("new", clicks.iloc[[place]])
    assert close(scorer.score("new", ITEMS), as_history)
    pairs = pandas.DataFrame({"user_id": "new", "item_id": ITEMS})
    assert close(scorer.score_pairs(pairs), as_history)


def test_a_history_may_say_labels_or_ratings_and_drops_what_the_data_drop(tmp_path):
    rule = {"val_interval": {"rating": "[0,3);(3,inf)"}}
    scorer = Scorer.load(toy_run(tmp_path, "NIFDIN", **rule), device="cpu")
    rated = events(("m1", 5, 10), ("m2", 3, 15), ("m3", 4, 30), ("m4", 2, 40))
    labeled = [{"item_id": item, "label": label, "timestamp": time} for item, label, time in
               (("m3", 1, 30), ("m1", 1, 10), ("m4", 0, 40))]  # fmt: skip
    assert np.array_equal(
        scorer.score(items=ITEMS, history=rated), scorer.score(items=ITEMS, history=labeled)
    )
    assert scorer.update("new", rated) == 3  # of four, one of which is left out


def test_states_are_kept_in_bounded_memory(scorer):
    scorer = scorer(cache_size=4000)
    for time in range(1000000000, 1000000700, 10):
        scorer.score("a", ITEMS, at=time)
        assert scorer.cache.nbytes <= 4000
    assert 0 < len(scorer.cache) < 10
    assert scorer.cache.nbytes == sum(size for _, size in scorer.cache._values.values())


def test_one_state_serves_all_candidates_and_times_without_an_event_between(scorer):
    scorer = scorer("NIFDIN")
    calls = []
    encode = scorer.engine.network.encode
    scorer.engine.network.encode = lambda batch: calls.append(1) or encode(batch)
    scorer.score("b", ITEMS * 100)
    scorer.score("b", ["m1"], at=2000000000)
    scorer.topk("b")
    assert len(calls) == 1


def test_threads_get_scores_of_before_or_after_an_update_never_of_between(scorer):
    scorer, allowed, wrong = scorer("AMEN"), set(), []
    reference, told = Scorer(scorer.model, scorer.data, 0), of_user("a")[["item_id", "rating", "timestamp"]]
    steps = [events((ITEMS[n % 10], 5, LAST + n)) for n in range(1, 9)]
    for new in [None, *steps]:
        told = told if new is None else pandas.concat([told, new])
        allowed.add(round(float(reference.score("a", ["m4"], history=told)[0]), 5))
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            score = round(float(scorer.score("a", ["m4"])[0]), 5)
            if not any(abs(score - one) < 2e-5 for one in allowed):
                wrong.append(score)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    [thread.start() for thread in threads]
    for new in steps:
        scorer.update("a", new)
        scorer.score_pairs(pandas.DataFrame({"user_id": ["a", "b"], "item_id": ["m1", "m1"]}))
    stop.set()
    [thread.join() for thread in threads]
    assert not wrong
    assert close(scorer.score("a", ["m4"]), reference.score("a", ["m4"], history=told))


def test_tokens_may_be_whole_numbers_of_any_size(scorer):
    scorer = scorer()
    assert close(scorer.score(10**400, ["m1", 10**400]), scorer.score("nobody", ["m1", "nothing"]))


def test_empty_requests_have_empty_answers(scorer):
    scorer = scorer("AMEN")
    assert scorer.score("a", []).shape == (0,)
    assert scorer.score_pairs(pandas.DataFrame({"user_id": [], "item_id": []})).shape == (0,)
    assert scorer.topk("a", candidates=[]).empty
    assert close(scorer.score("nobody", ITEMS, history=[]), scorer.score("nobody", ITEMS))
    scorer.update("a", [])
