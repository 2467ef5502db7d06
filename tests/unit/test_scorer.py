"""The scorer on small data: updates, unknown tokens, times, rankings, and what is refused."""

import threading

import numpy as np
import pandas
import pytest
import torch

import recbole_nif
from recbole_nif.errors import UserError
from recbole_nif.inference import Scorer
from recbole_nif.inference.columns import as_cells
from recbole_nif.inference.viewers import viewer_of
from recbole_nif.semantic_id.encoders import SentenceEncoder
from tests.toy import ROWS
from tests.toy_runs import OF_MODEL, toy_run

MODELS = [
    "NIFDIN",
    "NIFDIEN",
    "AMEN",
    "GenCI",
    "DeepFM",
    "recbole.DIN",
    "recbole.DIEN",
    "tests.unit.inner_product:InnerProduct",
]
READ_HISTORY = MODELS[:4] + ["recbole.DIN", "recbole.DIEN"]
NAMES = ["user_id", "item_id", "rating", "timestamp"]
ITEMS = [f"m{number}" for number in range(1, 11)]
LAST = 1000000700  # of user a


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of runs by model, made when first asked for."""
    made = {}

    def folder(model):
        if model not in made:
            made[model] = toy_run(tmp_path_factory.mktemp("toy"), model)
        return made[model]

    return folder


@pytest.fixture
def scorer(folders):
    """Makes a fresh scorer."""
    return lambda model="NIFDIN", **options: Scorer.load(folders(model), device="cpu", **options)


def events(*rows):
    return pandas.DataFrame(rows, columns=["item_id", "rating", "timestamp"])


def of_user(user):
    return pandas.DataFrame(ROWS, columns=NAMES).query("user_id == @user")


def close(first, second):
    return np.abs(np.asarray(first) - np.asarray(second)).max() < 1e-6


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


# -- what is unknown


@pytest.mark.parametrize("model", MODELS)
def test_unknown_tokens_leave_the_other_rows_as_they_are(scorer, model):
    scorer = scorer(model)
    known = scorer.score("a", ITEMS)
    mixed = scorer.score("a", ["m99", *ITEMS[:5], "[PAD]", *ITEMS[5:], "never"])
    assert close(np.delete(mixed, [0, 6, 12]), known)
    assert close(mixed[[0, 6]], mixed[12]) and np.isfinite(mixed).all()
    stranger = scorer.score("nobody", ITEMS)
    pairs = pandas.DataFrame({"user_id": ["a", "nobody", "a"], "item_id": ["m1", "m2", "m98"]})
    assert close(scorer.score_pairs(pairs), [known[0], stranger[1], mixed[0]])
    assert close(stranger, scorer.score(None, ITEMS)) and not close(stranger, known)


def test_an_unknown_user_has_the_features_that_are_given(scorer):
    scorer = scorer("DeepFM")
    young, old = (scorer.score(items=ITEMS, user_features={"age": age}) for age in ("20", "21"))
    assert not close(young, old)
    unknown = scorer.score(items=ITEMS, user_features={"age": "99"})
    assert close(unknown, scorer.score(items=ITEMS))
    assert close(scorer.score("a", ITEMS, user_features={"age": 20}), scorer.score("a", ITEMS))


@pytest.mark.parametrize("model", ["NIFDIN", "NIFDIEN", "GenCI", "recbole.DIN"])
def test_an_unknown_item_in_a_history_is_as_if_it_were_not_there(scorer, model):
    scorer = scorer(model)
    clicks = events(("m1", 5, 10), ("m98", 5, 20), ("m3", 4, 30))
    known = scorer.score(items=ITEMS, history=clicks.iloc[[0, 2]])
    assert close(scorer.score(items=ITEMS, history=clicks), known)


def test_an_unknown_item_in_a_moveline_is_an_event_without_an_item(scorer):
    scorer = scorer("AMEN")
    clicks = events(("m1", 5, 10), ("m98", 5, 20), ("m3", 4, 30))
    other = clicks.replace("m98", "m97")
    assert close(scorer.score(items=ITEMS, history=clicks), scorer.score(items=ITEMS, history=other))
    assert not close(
        scorer.score(items=ITEMS, history=clicks), scorer.score(items=ITEMS, history=clicks.iloc[[0, 2]])
    )


@pytest.mark.parametrize("model", MODELS)
def test_added_items_have_their_features(scorer, model):
    scorer = scorer(model)
    before = scorer.score("a", ITEMS)
    unknown = scorer.score("a", ["x1"])[0]
    genres = ["Drama", "Comedy", ["Comedy", "Drama"], "Western", "Comedy"]
    new = pandas.DataFrame({"item_id": ["x1", "m1", "x2", "x3", "x1"], "genre": genres})
    assert scorer.add_items(new) == 3
    assert scorer.add_items(new) == 0
    scores = scorer.score("a", ["x1", "x2", "x3", "y"])
    assert close(scorer.score("a", ITEMS), before)
    assert close(scores[3], unknown)
    looks_up_by_id = model.startswith("recbole.")
    assert close(scores[0], scores[1]) == close(scores[0], unknown) == looks_up_by_id
    ranked = scorer.topk("a", 20, exclude_seen=False)
    assert {"x1", "x2", "x3"} < set(ranked.item)
    scorer.update("a", events(("x1", 5, LAST + 5), ("x2", 5, LAST + 6)))
    assert not {"x1", "x2"} & set(scorer.topk("a", 20).item)
    pairs = pandas.DataFrame({"user_id": "a", "item_id": ["m1", "x2"]})
    assert close(scorer.score_pairs(pairs), scorer.score("a", ["m1", "x2"]))
    if model in ("NIFDIN", "AMEN", "NIFDIEN"):
        assert not close(scorer.score("a", ITEMS), before)


def test_an_added_item_with_the_features_of_another_differs_by_the_id_only(scorer):
    scorer = scorer("NIFDIN")
    table = scorer.model.features.item.tables[0].weight
    table.requires_grad_(False)[1:] = table[1]  # all items have one id vector ...
    table[1:] = 0  # ... which is that of padding
    scorer.add_items([{"item_id": "x", "genre": "Drama"}])
    assert close(scorer.score("a", ["x"]), scorer.score("a", ["m3"]))


def test_the_cells_of_an_added_item_are_what_a_file_would_hold():
    cells = as_cells(["Heat", 1995.0, np.nan, None, ["Drama", "Comedy"], np.array([1, 2]), 2.5], " ")
    assert cells == ["Heat", "1995", "", "", "Drama Comedy", "1 2", "2.5"]


def cohorts_of(scorer, item):
    """Level, code, number of items, and whether the candidate is one of them."""
    return [row[:4] for row in scorer.explain("a", item, top=60).parts[-1].cells]


def test_an_added_item_with_a_text_gets_the_codes_of_its_like(tmp_path, monkeypatch):
    seen = []

    def by_text(self, texts):
        seen.extend(texts)
        return np.array([np.random.default_rng(list(text.encode())).normal(size=6) for text in texts], "f4")

    monkeypatch.setattr(SentenceEncoder, "encode", by_text)
    settings = {"text_encoder": "some/encoder", "item_text": "{genre:list}", "checkpoint_dir": str(tmp_path)}
    for model, also in (("GenCI", {}), ("AMEN", {"flow_targets": "semantic"})):
        folder = toy_run(tmp_path / model, model, **OF_MODEL["GenCI"] | OF_MODEL[model] | settings | also)
        scorer = Scorer.load(folder, device="cpu")
        before = scorer.score("a", ITEMS)
        cohorts = cohorts_of(scorer, "m2") if model == "GenCI" else None
        seen.clear()
        assert scorer.add_items([{"item_id": "w", "genre": ["Comedy", "Drama"]}]) == 1
        items = [{"item_id": "x", "genre": "Comedy Drama"}, {"item_id": "y", "genre": "  "}]
        assert scorer.add_items(items) == 2
        assert seen == ["Comedy, Drama"] * 2
        codes, (like,) = scorer.data.semantic_ids.codes, scorer.data.columns.ids("item_id", ["m2"])
        assert codes[-2, :-1].tolist() == codes[like, :-1].tolist()
        assert codes[-2].tolist() not in codes[:-2].tolist()
        assert codes[-1].tolist() == [-1] * codes.shape[1]
        if model == "GenCI":  # what it reads of cohorts is as trained, and a candidate's codes are its own
            assert cohorts_of(scorer, "m2") == cohorts == cohorts_of(scorer, "x")
        assert close(scorer.score("a", ITEMS), before)
        scorer.update("b", events(("x", 5, 1000000999)))
        assert np.isfinite(scorer.score("b", ["x", "y", "m1"])).all()


def test_a_model_with_a_table_by_item_of_its_own_refuses_items(folders):
    import torch

    scorer = Scorer.load(folders("tests.unit.inner_product:InnerProduct"), device="cpu")
    scorer.model.bias = torch.nn.Embedding(scorer.data.n_items, 1)
    with pytest.raises(UserError, match="InnerProduct has a table by item, bias.weight"):
        scorer.add_items([{"item_id": "x"}])
    assert scorer.data.n_items == 11


# -- rankings and reasons


@pytest.mark.parametrize("model", MODELS)
def test_the_best_items_are_those_of_a_search_through_all(scorer, model):
    scorer = scorer(model)
    for user in ("a", "c", "nobody"):
        seen = set(of_user(user).item_id)
        for k, exclude in ((3, False), (50, True)):
            items = [item for item in sorted(ITEMS, key=lambda m: scorer.data.columns.ids("item_id", [m])[0])
                     if not (exclude and item in seen)]  # fmt: skip
            scores = scorer.score(user, items) if items else np.zeros(0)
            order = sorted(range(len(items)), key=lambda place: (-scores[place], place))[:k]
            found = scorer.topk(user, k, exclude_seen=exclude)
            assert found.item.tolist() == [items[place] for place in order]
            assert close([0, *found.score], [0, *scores[order]])


@pytest.mark.parametrize("model", ["AMEN", "GenCI"])
def test_of_generated_candidates_the_nearest_are_ranked_by_their_scores(scorer, model):
    scorer = scorer(model)
    near = scorer.topk("b", k=10, generated=3, exclude_seen=False)
    assert 1 <= len(near) <= 3
    assert close(near["score"], scorer.score("b", near["item"].tolist()))
    batch = scorer.engine.view(viewer := _viewer(scorer, "b"), None).read(viewer.columns(scorer.data))
    with torch.no_grad():
        nearness = scorer.model.candidate_scores(batch)[0]
    ids = scorer.data.columns.ids("item_id", near["item"])
    others = np.setdiff1d(scorer.items(), ids)
    assert nearness[ids].min() >= nearness[others].max() and torch.isfinite(nearness[ids]).all()
    everything = scorer.topk("b", k=10, exclude_seen=False)
    assert set(near["item"]) <= set(everything["item"])
    assert len(scorer.topk("b", k=1, generated=3, candidates=["m1", "m2"])) <= 1


def test_where_nothing_known_is_generated_nothing_is_ranked(scorer, monkeypatch):
    scorer = scorer("GenCI")
    nowhere = torch.full((1, scorer.data.n_items), -torch.inf)
    monkeypatch.setattr(scorer.model, "candidate_scores", lambda batch: nowhere)
    assert scorer.topk("b", k=3, generated=5, exclude_seen=False).empty


def _viewer(scorer, user):
    return viewer_of(scorer.data, scorer.log, user, None, None)


@pytest.mark.parametrize("model", ["NIFDIN", "DeepFM"])
def test_a_model_that_generates_nothing_is_named(scorer, model):
    with pytest.raises(UserError, match=f"{model} generates no candidates: give a run of AMEN"):
        scorer(model).topk("b", generated=3)
    with pytest.raises(UserError, match="generated is 0: give at least 1"):
        scorer(model).topk("b", generated=0)


def test_equal_scores_are_ranked_in_the_order_of_items(scorer):
    scorer = scorer("NIFDIN")
    for parameter in scorer.model.parameters():
        parameter.requires_grad_(False).zero_()
    found = scorer.topk("c", 4, exclude_seen=False)
    assert found.item.tolist() == scorer.data.columns.tokens["item_id"][1:5].tolist()
    assert found.score.tolist() == [0.5] * 4
    assert scorer.topk("c", 2, candidates=["m9", "m2", "m77", "m9"]).item.tolist() == sorted(
        ["m9", "m2"], key=lambda m: scorer.data.columns.ids("item_id", [m])[0]
    )


def test_a_state_is_kept_for_the_time_since_the_last_event_too(scorer):
    """AMEN reads that time, so the same events an hour and a month ago are two states."""
    kept, fresh = scorer("AMEN"), scorer("AMEN", cache_size=0)
    times = [1000000000 + 3600, 1000000000 + 30 * 86400] * 2
    scores = [kept.score("b", ITEMS, at=time) for time in times]
    assert all(
        close(fresh.score("b", ITEMS, at=time), kept) for time, kept in zip(times, scores, strict=True)
    )
    assert not np.allclose(scores[0], scores[1], atol=1e-7, rtol=0)


def test_what_was_seen_is_so_as_of_the_time(scorer):
    scorer = scorer("NIFDIN")
    assert "m5" in set(scorer.topk("a", 10, at=1000000200).item)
    assert "m5" not in set(scorer.topk("a", 10, at=1000000201).item)
    assert scorer.topk("a", 10).empty


def test_an_explanation_is_that_of_the_command(scorer, folders, capsys):
    from recbole_nif import cli

    told = scorer("AMEN").explain("b", "m9", at=1000000580, top=60)
    assert cli.main(["explain", f"--run={folders('AMEN')}", "--user=b", "--item=m9", "--top=60"]) == 0
    shown = capsys.readouterr().out
    assert f"Score {told.score:.4f}." in shown
    for section in str(told).split("## ")[1:]:
        assert section.strip() in shown
    assert [part.title for part in told.parts][-1].startswith("Next interest flow")


def test_an_explanation_knows_updates_and_added_items(scorer):
    scorer = scorer("GenCI")
    scorer.add_items([{"item_id": "x", "genre": "Drama"}])
    scorer.update("b", events(("x", 5, 1000000999)))
    told = scorer.explain("b", "x", top=60)
    assert told.score == pytest.approx(scorer.score("b", ["x"])[0])
    assert told.parts[0].cells[-1][1] == "x"


def test_a_model_of_recbole_tells_a_score_only(scorer):
    told = scorer("DeepFM").explain("b", "m9")
    assert told.parts == () and "tells nothing" in str(told)


# -- mistakes


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda s: s.score("a", "m1"), "items is the text 'm1'"),
        (lambda s: s.score("a", ["m1"], at=float("nan")), "at is nan: give a finite number"),
        (lambda s: s.score("a", ["m1"], at="noon"), "at is 'noon'"),
        (lambda s: s.score("a", ["m1"], at=10**400), "give a finite number"),
        (lambda s: s.score("a", ["m1"], user_features={"height": 1}), "user_features names 'height'"),
        (lambda s: s.score("a", ["m1"], context={"page": 1}), "context names 'page'"),
        (lambda s: s.score("a", ["m1"], history=3), "A int is no table"),
        (lambda s: s.score("a", ["m1"], history=[1, 2]), "no column 'item_id'"),
        (lambda s: s.score("a", ["m1"], history=[{"item_id": "m1"}]), "no column 'timestamp'"),
        (
            lambda s: s.score("a", ["m1"], history=[{"item_id": "m1", "timestamp": 1}]),
            "no column 'label' or 'rating'",
        ),
        (lambda s: s.score("a", ["m1"], history=events(("m1", 5, None))), "Row 1: timestamp is missing"),
        (lambda s: s.score("a", ["m1"], history=events(("m1", 5, "x"))), "Row 1: timestamp is 'x'"),
        (
            lambda s: s.score("a", ["m1"], history=events(("m1", 5, 1), ("m1", 5, np.inf))),
            "Row 2: timestamp is inf",
        ),
        (lambda s: s.score("a", ["m1"], history=events(("m1", None, 1))), "Row 1: rating is missing"),
        (
            lambda s: s.score("a", ["m1"], history=[{"item_id": "m1", "timestamp": 1, "label": 2}]),
            "Row 1: label is 2: give 0 or 1",
        ),
        (
            lambda s: s.score("a", ["m1"], history=events(("m1", 5, 1), ("m1", 5, 2**64 - 1))),
            "Row 2: timestamp is 18446744073709551615: give a number below 2**63",
        ),
        (
            lambda s: s.score(
                "a", ["m1"], history=[{"item_id": "m1", "rating": r, "timestamp": 1} for r in (5, 10**400)]
            ),
            "Row 2: rating is 1000",
        ),
        (lambda s: s.score_pairs([{"user_id": "a"}]), "no column 'item_id'"),
        (lambda s: s.score_pairs([{"user_id": "a", "item_id": None}]), "Row 1: item_id is missing"),
        (
            lambda s: s.score_pairs([{"user_id": "a", "item_id": "m1", "timestamp": float("nan")}]),
            "Row 1: timestamp is missing",
        ),
        (lambda s: s.topk("a", 0), "k is 0: give at least 1"),
        (lambda s: s.explain("a", "m99"), "Item 'm99' is unknown"),
        (lambda s: s.update("a", events(("m1", 5, 5))), "is earlier than the user's last one"),
        (lambda s: s.update(None, events(("m1", 5, 5))), "have no user"),
        (lambda s: s.add_items([{"genre": "Drama"}]), "no column 'item_id'"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_and_changes_nothing(scorer, ask, words):
    scorer = scorer()
    before = scorer.score("a", ITEMS)
    with pytest.raises(UserError) as told:
        ask(scorer)
    assert words in str(told.value) and "\n" not in str(told.value)
    assert np.array_equal(scorer.score("a", ITEMS), before)


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


@pytest.mark.parametrize("missing", ["checkpoints/finetune-best.pt", "data"])
def test_a_folder_that_is_no_whole_run_is_refused(tmp_path, missing):
    run = toy_run(tmp_path)
    if missing == "data":
        (tmp_path / "toy" / "toy.inter").unlink()
    else:
        (run / missing).unlink()
    with pytest.raises(UserError):
        Scorer.load(run)


def test_a_run_of_an_older_version_has_todays_defaults_for_keys_it_does_not_know(tmp_path):
    from recbole_nif.trainer import checkpoint

    run = toy_run(tmp_path)
    before = Scorer.load(run, device="cpu").score("a", ITEMS)
    path = run / "checkpoints" / "finetune-best.pt"
    payload = checkpoint.load(path)
    for key in ("gauc_weight", "flow_cache", "text_encoder", "cross_layers"):
        payload["config"].pop(key, None)
    checkpoint.save(path, payload)
    assert np.array_equal(Scorer.load(run, device="cpu").score("a", ITEMS), before)
    payload["state_dict"].pop(next(iter(payload["state_dict"])))
    checkpoint.save(path, payload)
    with pytest.raises(UserError, match="does not fit the NIFDIN"):
        Scorer.load(run)
