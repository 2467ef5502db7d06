"""GenCI's encoder and decoder: transformers' T5 row by row is the reference for histories that rows share."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_nif.data import fields
from recbole_nif.model.genci.history_encoder import Histories
from tests.unit.genci_doubles import CODES, SIZES, history_batch, tiny_genci, tiny_ids

HISTORIES = [[1, 2, 3, 4], [1, 2], []]  # the distinct ones of history_batch


def encode(model, batch):
    histories = Histories.of(batch)
    return histories, model.encoder(histories)


def embedded(model, items):
    """What T5 reads of one history, [1, P, d]."""
    vectors = model.tokens.table.weight[model.encoder.tokens[torch.tensor(items)]]  # [n, N, d]
    per_item = model.encoder.positions_per_item
    return (vectors.sum(1) if per_item == 1 else vectors.flatten(0, 1)).unsqueeze(0)


def reference_states(model, items):
    """H_enc [1, P, d] of one history by transformers' own forward pass; of none the learned vector."""
    if not items:
        return model.encoder.no_history[None, None]
    inputs = embedded(model, items)
    mask = None
    if model.encoder.causal:
        mask = torch.ones(inputs.shape[1], inputs.shape[1], dtype=torch.bool).tril()[None, None]
    return model.encoder.stack(inputs_embeds=inputs, attention_mask=mask).last_hidden_state


def reference_decoder(model, inputs, states):
    """transformers' decoder on inputs [1, T, d] -> [1, T, d]."""
    return model.decoder.stack(inputs_embeds=inputs, encoder_hidden_states=states).last_hidden_state


@pytest.mark.parametrize("encoder_input", ["tokens", "items"])
@pytest.mark.parametrize("form", ["window", "packed"])
class TestSharedHistories:
    def model(self, form, encoder_input, **overrides):
        return tiny_genci(encode=form, encoder_input=encoder_input, **overrides)

    def test_are_encoded_as_by_transformers_alone(self, form, encoder_input):
        model, batch = self.model(form, encoder_input), history_batch(form)
        histories, encoded = encode(model, batch)
        for number, items in enumerate(HISTORIES):
            expected = reference_states(model, items)[0]
            states = encoded.states[histories.window[number]][encoded.visible[number]]
            assert torch.allclose(states, expected, atol=1e-5)
            assert torch.allclose(encoded.last[number], expected[-1], atol=1e-5)  # Eq. 5

    def test_are_decoded_as_by_transformers_alone(self, form, encoder_input):
        model, batch = self.model(form, encoder_input), history_batch(form)
        histories, encoded = encode(model, batch)
        rows = torch.tensor([2, 0, 1, 0, 2])
        inputs = torch.randn(5, 4, 8)
        source = model.decoder.source(encoded.states, encoded.visible[rows], histories.window[rows])
        decoded = model.decoder(inputs, source)
        for place, row in enumerate(rows.tolist()):
            states = reference_states(model, HISTORIES[row])
            expected = reference_decoder(model, inputs[place : place + 1], states)[0]
            assert torch.allclose(decoded[place], expected, atol=1e-5)

    def test_cached_steps_equal_teacher_forcing(self, form, encoder_input):
        model, batch = self.model(form, encoder_input), history_batch(form)
        histories, encoded = encode(model, batch)
        rows, inputs = torch.tensor([0, 2, 1]), torch.randn(3, 3, 8)
        source = model.decoder.source(encoded.states, encoded.visible[rows], histories.window[rows])
        cache, steps = None, []
        for step in range(3):
            state, cache = model.decoder.step(inputs[:, step : step + 1], source, cache)
            steps.append(state)
        assert torch.allclose(torch.cat(steps, 1), model.decoder(inputs, source), atol=1e-5)

    def test_do_not_depend_on_padding(self, form, encoder_input):
        model, batch = self.model(form, encoder_input), history_batch(form)
        before = model(batch)
        wider = torch.nn.functional.pad(batch[fields.HISTORY_ITEM], (0, 3))
        batch.interaction[fields.HISTORY_ITEM] = wider
        assert torch.allclose(model(batch), before, atol=1e-5)

    def test_end_at_the_cut(self, form, encoder_input):
        model, batch = self.model(form, encoder_input), history_batch(form)
        before = model(batch)
        batch[fields.HISTORY_ITEM][-1] = 6  # window of the empty history
        if form == "packed":
            batch[fields.HISTORY_ITEM][0, 2:] = 5  # behind the histories of rows 1 and 2
            assert torch.allclose(model(batch)[1:], before[1:], atol=1e-5)
            assert (model(batch)[0] - before[0]).abs() > 1e-5
        else:
            assert torch.allclose(model(batch), before, atol=1e-5)


def test_an_item_without_an_id_reads_as_token_0():
    codes = CODES.clone()
    codes[2] = -1
    model = tiny_genci(ids=tiny_ids(codes))
    vectors = model.encoder.embed(Histories.of(history_batch()))
    assert torch.allclose(vectors[0, 1], 4 * model.tokens.table.weight[0])


def test_a_label_is_a_vector_added_to_its_item():
    model, batch = tiny_genci(history="all_with_label"), history_batch(labels=True)
    plain = tiny_genci()
    model.encoder.label.weight.data[1:] = torch.randn(2, 8)
    histories = Histories.of(batch)
    added = model.encoder.embed(histories) - plain.encoder.embed(histories)
    assert torch.allclose(added, model.encoder.label.weight[batch[fields.HISTORY_LABEL]], atol=1e-5)


# -- generation


def score_of(model, codes, start, states):
    """log P of one prefix of codes by transformers' decoder."""
    inputs = [start] + [model.tokens.embed(codes[n], n) for n in range(len(codes) - 1)]
    decoded = reference_decoder(model, torch.stack(inputs).unsqueeze(0), states)[0]
    return sum(
        model.tokens.log_probabilities(decoded[level], level)[code].item() for level, code in enumerate(codes)
    )


@pytest.mark.parametrize("softmax", ["level", "all"])
@pytest.mark.parametrize("form", ["window", "packed"])
def test_a_wide_enough_beam_search_ranks_ids_as_brute_force_does(form, softmax):
    model, batch = tiny_genci(encode=form, ntp_softmax=softmax, beam_width=6), history_batch(form)
    with torch.no_grad():
        generated = model.generated(batch)
        for number, items in enumerate(HISTORIES):
            states = reference_states(model, items)
            start = model._start(states[:, -1])[0]
            scores = [score_of(model, codes, start, states) for codes in CODES[1:]]
            order = sorted(range(6), key=lambda item: -scores[item])
            assert generated.codes[number].tolist() == [CODES[1 + item].tolist() for item in order]
            expected = torch.tensor([scores[item] for item in order])
            assert torch.allclose(generated.score[number], expected, atol=1e-4)
            assert model.trie.table.item_of(generated.node[number]).tolist() == [1 + item for item in order]


def test_greedy_decoding_takes_the_best_existing_code_at_each_level():
    model, batch = tiny_genci(), history_batch()
    with torch.no_grad():
        generated = model.generated(batch)
        for number, items in enumerate(HISTORIES):
            states, codes = reference_states(model, items), []
            start = model._start(states[:, -1])[0]
            for level, size in enumerate(SIZES):
                existing = {tuple(row[: level + 1]) for row in CODES[1:].tolist()}
                options = [code for code in range(size) if (*codes, code) in existing]
                codes.append(
                    max(
                        options, key=lambda code: score_of(model, torch.tensor([*codes, code]), start, states)
                    )
                )
            assert generated.codes[number, 0].tolist() == codes


def test_free_decoding_takes_the_best_code_of_each_level():
    model, batch = tiny_genci(decoding="free", beam_width=36), history_batch()
    with torch.no_grad():
        generated = model.generated(batch)
        assert not generated.node.any()
        states = reference_states(model, HISTORIES[0])
        start = model._start(states[:, -1])[0]
        scores = [
            score_of(model, torch.tensor(codes), start, states)
            for codes in itertools.product(*map(range, SIZES))
        ]
        assert generated.score[0, 0].item() == pytest.approx(max(scores), abs=1e-4)
        assert len(set(map(tuple, generated.codes[0].tolist()))) == 36 == math.prod(SIZES)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_every_generated_id_exists(data):
    sizes = data.draw(st.tuples(*[st.integers(1, 4)] * 3))
    universe = list(itertools.product(*map(range, sizes)))
    existing = data.draw(st.lists(st.sampled_from(universe), min_size=1, max_size=6, unique=True))
    beams = data.draw(st.integers(1, 5))
    without = [(-1, -1, -1)]  # padding, and items without an ID: the fake dataset has six items
    ids = tiny_ids(torch.tensor(without + existing + without * (6 - len(existing))), sizes)
    model = tiny_genci(seed=data.draw(st.integers(0, 5)), ids=ids, beam_width=beams)
    generated = model.generated(history_batch())
    alive = generated.score > float("-inf")
    assert alive.sum(1).tolist() == [min(beams, len(existing))] * 3
    assert {tuple(codes) for codes in generated.codes[alive].tolist()} <= set(existing)
    assert (model.trie.table.item_of(generated.node[alive]) > 0).all()
    assert (generated.score.diff(dim=1).nan_to_num() <= 1e-6).all()
