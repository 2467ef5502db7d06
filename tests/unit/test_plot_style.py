import pytest

from recbole_nif.plot_style import picture, write_csv


@pytest.mark.parametrize("name", ["curve.svg", "curve.png"])
def test_the_same_figure_is_the_same_file(tmp_path, name):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        with picture(tmp_path / folder / name) as figure:
            figure.subplots().plot([1, 2], [3, 4])
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_picture_that_fails_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "curve.svg"
    path.write_text("earlier")
    with pytest.raises(ZeroDivisionError), picture(path):
        1 / 0  # noqa: B018
    assert [file.name for file in tmp_path.iterdir()] == ["curve.svg"] and path.read_text() == "earlier"


def test_a_csv_quotes_what_needs_quotes(tmp_path):
    write_csv(tmp_path / "x.csv", ["row", "auc"], [["a, b", 0.5]])
    assert (tmp_path / "x.csv").read_text() == 'row,auc\n"a, b",0.5\n'
