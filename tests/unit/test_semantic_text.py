"""Item texts from a template over the .item file."""

import pytest

from recbole_nif.config_parsing import load_yaml, parse_value
from recbole_nif.errors import UserError
from recbole_nif.resources import dataset_configs_dir
from recbole_nif.semantic_id.text import Template, item_texts
from tests.toy import toy_config, toy_dataset

ITEMS = "item_id:token\ttitle:token_seq\tyear:token\tgenre:token_seq\n"


def rendered(template, **cells):
    return Template.parse(template).render({"title": "", "year": "", "genre": ""} | cells)


def texts_of(folder, items, template="{title}[ ({year})][. Genres: {genre:list}]", **settings):
    """Texts by item token, with ``items`` as the rows of toy.item; only ids and genres are loaded."""
    train, _, _ = toy_dataset(folder)
    (folder / "toy" / "toy.item").write_text(ITEMS + "".join(f"{row}\n" for row in items), encoding="utf-8")
    texts = item_texts(toy_config(folder, item_text=template, **settings), train)
    return dict(zip(train.field2id_token["item_id"], texts, strict=True))


def test_a_cell_stands_as_it_is_and_a_list_with_commas():
    assert (
        rendered("{title}: {genre:list}", title="Toy Story", genre="Comedy Drama")
        == "Toy Story: Comedy, Drama"
    )


def test_brackets_are_left_out_where_one_of_their_columns_is_empty():
    template = "{title}[ ({year}, {genre})][. Genres: {genre:list}]!"
    assert rendered(template, title="Film", genre="Drama") == "Film. Genres: Drama!"
    assert (
        rendered(template, title="Film", genre="Drama", year="1995") == "Film (1995, Drama). Genres: Drama!"
    )
    assert rendered(template, title="Film", year="1995") == "Film!"


def test_an_empty_column_outside_of_brackets_leaves_nothing_behind():
    assert rendered("{year}  {title} {genre}", title=" Film ") == "Film"


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{title", "write columns as"),
        ("{title:upper}", "write columns as"),
        ("{}", "write columns as"),
        ("a film", "names no column"),
        ("[{title}", "brackets that do not match"),
        ("[{title}[{year}]]", "brackets that do not match"),
    ],
)
def test_a_wrong_template_ends_in_one_sentence(template, sentence):
    with pytest.raises(UserError, match=sentence):
        Template.parse(template)


def test_columns_that_are_no_features_are_read_and_stay_none(tmp_path):
    rows = [f"m{n}\tFilm {n}\t{1990 + n}\tDrama Comedy" for n in range(10, 0, -1)]
    texts = texts_of(tmp_path, rows)
    assert texts["m3"] == "Film 3 (1993). Genres: Drama, Comedy"
    assert texts["[PAD]"] == ""
    train, _, _ = toy_dataset(tmp_path)
    assert set(train.item_feat.columns) == {"item_id", "genre"}


def test_items_without_a_text_are_told_and_stay_empty(tmp_path, caplog):
    rows = [f"m{n}\tFilm {n}\t\t" for n in range(1, 9)] + ["m9\t\t\t", "x\tUnknown\t\t"]  # m10 has no row
    texts = texts_of(tmp_path, rows, "A film: {title}")
    assert texts["m1"] == "A film: Film 1"
    assert texts["m9"] == texts["m10"] == ""
    assert "2 items have no text by item_text (m9, m10)" in caplog.text or "(m10, m9)" in caplog.text


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{plot}", r"toy\.item has no column 'plot', which item_text names: it has item_id, title"),
        (
            "{year}",
            r"No item has a text by item_text '{year}': name columns that are filled, set text_encoder",
        ),
        (None, "toy has no item_text: give a template"),
    ],
)
def test_a_template_that_does_not_fit_the_data_ends_in_one_sentence(tmp_path, template, sentence):
    with pytest.raises(UserError, match=sentence):
        texts_of(tmp_path, [f"m{n}\tFilm {n}\t\t" for n in range(1, 11)], template)


def test_a_missing_item_file_ends_in_one_sentence(tmp_path):
    train, _, _ = toy_dataset(tmp_path)
    (tmp_path / "toy" / "toy.item").unlink()
    with pytest.raises(UserError, match=r"Cannot read .*toy\.item: No such file"):
        item_texts(toy_config(tmp_path, item_text="{title}"), train)


def test_every_shipped_template_is_well_formed_and_a_text_on_the_command_line():
    templates = [load_yaml(path).get("item_text") for path in dataset_configs_dir().glob("*.yaml")]
    assert sum(template is not None for template in templates) == 5
    for template in filter(None, templates):
        assert Template.parse(template).columns
    assert parse_value("item_text", "{title}") == "{title}"
