"""Cards with any texts and values: what is written is what is read, and nothing of it can steer a terminal."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SparseSegLib.errors import ModelError
from SparseSegLib.models import ModelCard, ModelLabel, Preprocessing
from SparseSegLib.models.card import FORMATS, card_from_json, card_to_json
from SparseSegLib.text import plain_text

ANY = st.text(st.characters(), max_size=60)  # halves of characters and control characters are among them
NAMES = ANY.filter(lambda text: plain_text(text).strip())
MILLIMETERS = st.floats(1e-6, 1e6)
NUMBERS = st.integers(-(10**20), 10**20) | st.floats(-1e300, 1e300)
PLAIN = st.dictionaries(ANY, NUMBERS | ANY | st.booleans() | st.lists(NUMBERS, max_size=4), max_size=5)
LABELS = st.lists(
    st.tuples(NAMES, st.tuples(*[st.floats(0, 1)] * 3), ANY),
    min_size=1,
    max_size=5,
    unique_by=lambda one: plain_text(one[0]),
).map(lambda found: tuple(ModelLabel(value, *one) for value, one in enumerate(found, start=1)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY, inner, max_size=4),
    max_leaves=10,
)
CARD = ModelCard(
    name="blob",
    network="unet3d-small",
    preprocessing=Preprocessing((2.0, 1.0, 1.0), ("T1",)),
    window=(16, 16, 16),
    labels=(ModelLabel(1, "blob", (1.0, 0.0, 0.0)),),
    arguments={"base": 4, "levels": [1, 2]},
    figures={"dice": 0.5},
    sha256="0" * 64,
)
CARDS = st.builds(
    ModelCard,
    name=NAMES,
    network=NAMES,
    preprocessing=st.builds(
        Preprocessing,
        st.tuples(MILLIMETERS, MILLIMETERS, MILLIMETERS),
        st.lists(ANY, min_size=1, max_size=4).map(tuple),
        normalization=st.sampled_from(("percentiles", "nonzero")),
    ),
    window=st.tuples(*[st.integers(1, 1024)] * 3),
    labels=LABELS,
    arguments=PLAIN,
    summary=ANY,
    license=ANY,
    date=ANY,
    figures=st.dictionaries(ANY, NUMBERS | ANY, max_size=5),
    members=st.integers(1, 64),
    sha256=st.just("0" * 64),
    weights_file=st.sampled_from(tuple(FORMATS.values())),
)


def _content(card):
    return json.loads(json.dumps(card_to_json(card), ensure_ascii=False))


def _again(card):
    return card_from_json(_content(card), "it")


@given(CARDS)
def test_a_card_comes_back_as_it_was_with_texts_that_can_be_shown(card):
    again = _again(card)
    assert _again(again) == again
    assert (again.name, again.summary) == (plain_text(card.name), plain_text(card.summary))
    assert [label.name for label in again.labels] == [plain_text(label.name) for label in card.labels]
    numbers = ("window", "members", "weights_file")
    assert all(getattr(again, field) == getattr(card, field) for field in numbers)
    assert again.preprocessing.spacing == card.preprocessing.spacing
    json.dumps(card_to_json(again), ensure_ascii=False).encode()


@given(ANY)
def test_texts_lose_what_cannot_be_shown_and_nothing_else(text):
    plain = plain_text(text)
    plain.encode()
    assert plain_text(plain) == plain
    assert not any(char < " " or "\x7f" <= char < "\xa0" or char in "\u202e\u2066\u2028" for char in plain)
    visible = "Größe 日本 فارسی‌ها 👩‍👩‍👧 é"
    assert plain_text(visible) == visible


@given(st.sampled_from(["name", "window", "labels", "network", "weights", "training", "preprocessing", "format"]), JSON)
def test_any_value_anywhere_is_read_or_refused_in_words(field, value):
    content = _content(CARD)
    content[field] = value
    try:
        card_from_json(content, "it")
    except ModelError as error:
        assert len(str(error)) < 1000
        assert error.hint


@pytest.mark.parametrize("part", ["network", "preprocessing", "training", "weights"])
@given(st.data())
def test_any_value_deeper_is_read_or_refused_in_words(part, data):
    content = _content(CARD)
    field = data.draw(st.sampled_from(sorted(content[part])))
    content[part] = {**content[part], field: data.draw(JSON)}
    try:
        card_from_json(content, "it")
    except ModelError as error:
        assert len(str(error)) < 1000


def test_escape_codes_do_not_reach_a_reader():
    """Not in texts, not in names of figures and arguments, not in the words of a refusal."""
    evil = "\x1b]0;owned\x07\u202elive\r\nname"
    content = _content(replace(CARD, name=evil, figures={evil: evil}, arguments={evil: [evil]}))
    card = card_from_json(content, "it")
    assert card.name == "]0;ownedlive  name"
    assert list(card.figures.items()) == [(card.name, card.name)]
    assert dict(card.arguments) == {card.name: [card.name]}
    for field, value in (("name", ""), ("arguments", {evil: None})):
        content["network"] = {"name": evil, "arguments": {}, field: value}
        with pytest.raises(ModelError) as caught:
            card_from_json(content, "it")
        assert str(caught.value).isprintable()
    content = _content(CARD)
    for value in (evil, evil * 1000, [evil]):
        content["preprocessing"]["normalization"] = value
        with pytest.raises(ModelError) as caught:
            card_from_json(content, "it")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500
