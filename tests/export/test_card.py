"""Model cards are checked where they are read: none that is damaged goes further."""

import copy
import json
import random

import pytest

from codec_zoo.errors import DamagedModelError, ModelError
from codec_zoo.export.card import SCHEMA, parse_card


@pytest.fixture(scope="module")
def card(exports):
    return json.loads((exports / "fu2019-hybrid-s16-prelu" / "1" / "assets" / "model_card.json").read_text())


def test_a_sound_card(card):
    assert parse_card(json.dumps(card).encode(), "here") == card


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: card.update(weights=card.pop("weights_sha256")), "lacks weights_sha256"),
        (lambda card: card.update(weights_sha256="g" + card["weights_sha256"][1:]), "weights_sha256"),
        (lambda card: card.update(weights_sha256=card["weights_sha256"][1:]), "weights_sha256"),
        (lambda card: card.update(pipeline=[]), "pipeline"),
        (lambda card: card.update(pipeline={}), r"pipeline\.kind"),
        (lambda card: card["pipeline"].update(stride="16"), r"pipeline\.stride"),
        (lambda card: card["pipeline"].update(stride=-16), r"pipeline\.stride"),
        (lambda card: card["pipeline"].update(layers=True), r"pipeline\.layers"),
        (lambda card: card["pipeline"].update(kind="layered"), r"pipeline\.kind"),
        (lambda card: card.update(signatures=["encode"]), "signatures"),
        (lambda card: card["signatures"].update(encode=["images"]), r"signatures\.encode"),
        (lambda card: card["signatures"]["encode"].update(images=["uint8", [None, "3"]]), r"signatures\.encode"),
        (lambda card: card["signatures"].pop("decode"), r"signatures\.decode"),
        (lambda card: card.update(preset=7), "preset"),
        (lambda card: card.update(version="1"), "version"),
        (lambda card: card.pop("schema"), "no schema"),
        (lambda card: card.update(schema=None), "no schema"),
    ],
)
def test_damaged_cards(card, change, words):
    damaged = copy.deepcopy(card)
    change(damaged)
    with pytest.raises(DamagedModelError, match=words):
        parse_card(json.dumps(damaged).encode(), "here")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"7", b'"card"', b"\xff\xfe{}", b"[" * 100_000])
def test_what_is_no_card(data):
    with pytest.raises(DamagedModelError, match="here"):
        parse_card(data, "here")


def test_cards_of_another_codec_zoo(card):
    for changes, words in (({"schema": SCHEMA + 1}, "another schema"), ({"preset": "new-model"}, "Update codec-zoo")):
        with pytest.raises(ModelError, match=words) as caught:
            parse_card(json.dumps({**card, **changes}).encode(), "here")
        assert not isinstance(caught.value, DamagedModelError)


def test_mutants_raise_only_model_errors(card):
    """Any value anywhere may be of any other type."""
    chance = random.Random(0)
    wrong = [None, True, 0, -1, 1.5, "", "x", [], [1], {}, {"a": 1}]
    refused = 0
    for _ in range(2000):
        mutant = copy.deepcopy(card)
        at = mutant
        while True:
            key = chance.choice(list(at) if isinstance(at, dict) else range(len(at)))
            if isinstance(at[key], dict | list) and at[key] and chance.random() < 0.7:
                at = at[key]
                continue
            at[key] = chance.choice(wrong)
            break
        try:
            parse_card(json.dumps(mutant).encode(), "here")
        except ModelError:
            refused += 1
    assert refused > 1000
