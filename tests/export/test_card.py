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


def latent(card):
    return card["stream"]["layers"][0]["entries"][0]


def test_a_sound_card(card):
    assert parse_card(json.dumps(card).encode(), "here") == card


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: card.update(weights=card.pop("weights_sha256")), "lacks weights_sha256"),
        (lambda card: card.update(weights_sha256="g" + card["weights_sha256"][1:]), "weights_sha256"),
        (lambda card: card.update(weights_sha256=card["weights_sha256"][1:]), "weights_sha256"),
        (lambda card: card.update(stream=[]), "stream"),
        (lambda card: card.update(stream={}), r"stream\.type is none of Stream"),
        (lambda card: card["stream"].update(stride="16"), r"stream\.stride is no int"),
        (lambda card: card["stream"].update(layers=True), r"stream\.layers is no list"),
        (lambda card: latent(card).update(channels=4), r"signatures\.decode\.compact"),
        (lambda card: latent(card).update(name="latent"), r"signatures\.decode\.compact"),
        (lambda card: card["stream"]["layers"][0].update(decode="show"), r"other signatures\.show than"),
        (lambda card: card.update(receptive_field=7), "receptive_field"),
        (lambda card: card["receptive_field"].update(encode=-1), r"receptive_field\.encode"),
        (lambda card: card["receptive_field"].update(encode=None), r"receptive_field\.encode"),
        (lambda card: card["multiplications"].update(encode=1.5), r"multiplications\.encode"),
        (lambda card: card.pop("multiplications"), "lacks multiplications"),
        (lambda card: card.update(signatures=["encode"]), "signatures"),
        (lambda card: card["signatures"].update(encode=["images"]), r"signatures\.encode"),
        (lambda card: card["signatures"]["encode"].update(images=["uint8", [None, "3"]]), r"signatures\.encode"),
        (lambda card: card["signatures"].pop("decode"), r"signatures\.decode"),
        (lambda card: card["outputs"]["encode"].update(size=["int32", "2"]), r"outputs\.encode"),
        (lambda card: card["outputs"].pop("decode"), r"outputs\.decode"),
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
    with pytest.raises(ModelError, match="another schema") as caught:
        parse_card(json.dumps({**card, "schema": SCHEMA + 1}).encode(), "here")
    assert not isinstance(caught.value, DamagedModelError)


def test_a_preset_of_another_package(card):
    """A card says all that its codec needs: the preset need not be known here."""
    other = {**card, "preset": "new-model"}
    assert parse_card(json.dumps(other).encode(), "here") == other


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
