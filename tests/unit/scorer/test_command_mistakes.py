"""What ``recbole-nif score`` and ``topk`` refuse: one sentence with its place, nothing left behind."""

import pytest

from recbole_nif import cli


@pytest.mark.parametrize(
    ("argv", "files", "words"),
    [
        ("score", {}, "score needs --run and --input and --output"),
        ("score --run={run} --input=no.csv --output=out.csv", {}, "--input no.csv cannot be read"),
        ("score --run=nowhere --input=pairs.csv --output=out.csv", {}, "nowhere is not the folder of a run"),
        ("score --run={run} --input=in.csv --output=out.csv", {"in.csv": ""}, "in.csv has no header line"),
        (
            "score --run={run} --input=in.csv --output=out.csv",
            {"in.csv": "user_id,item_id\na,m1\na\n"},
            "in.csv, line 3 has 1 cells, but the header names 2",
        ),
        (
            "score --run={run} --input=in.csv --output=out.csv",
            {"in.csv": "user_id\na\n"},
            "in.csv: The table has no column 'item_id'",
        ),
        (
            "score --run={run} --input=in.csv --output=out.csv",
            {"in.csv": "user_id,item_id,timestamp\na,m1,5\n\na,m2,nan\n"},
            "in.csv, line 4: timestamp is 'nan': give a finite number",
        ),
        (
            "score --run={run} --input=in.csv --output=out.csv",
            {"in.csv": "user_id,item_id\na,\n"},
            "in.csv, line 2: item_id is missing",
        ),
        (
            "score --run={run} --input=in.csv --output=out.csv",
            {"in.csv": 'user_id,item_id\na,"m1\na,m2\n'},
            "in.csv cannot be read at line",
        ),
        (
            "score --run={run} --input=in.csv --output=out.csv",
            {"in.csv": b"user_id,item_id\n\xff\xfe,m1\n"},
            "in.csv is not UTF-8 text",
        ),
        (
            "score --run={run} --input=in.csv --output=out.csv",
            {"in.csv": "user_id,item_id,score\na,m1,1\n"},
            "has a column 'score' already",
        ),
        (
            "score --run={run} --input=pairs.csv --output=no/out.csv",
            {},
            "--output no/out.csv cannot be written",
        ),
        (
            f"score --run={{run}} --input=pairs.csv --output={'o' * 300}",
            {},
            "cannot be written (File name too long)",
        ),
        ("score --run={run} --input=pairs.csv --output=.", {}, "--output . is a folder: name a file in it"),
        ("score --run={run} --input=pairs.csv --output=/", {}, "--output / is a folder: name a file in it"),
        (
            "score --run={run} --input=pairs.csv --output=./pairs.csv",
            {},
            "--input and --output are the same file, pairs.csv: name another --output",
        ),
        (
            "topk --run={run} --users=in.csv --output=in.csv",
            {"in.csv": "user_id\na\n"},
            "--users and --output are the same file, in.csv",
        ),
        (
            "score --run={run} --input=in.csv --output=out.csv",
            {"in.csv": "user_id,item_id,user_id\na,m1,b\n"},
            "in.csv names the column 'user_id' twice: rename or remove one",
        ),
        (
            "topk --run={run} --users=in.csv --output=out.csv",
            {"in.csv": "user_id,user_id\na,b\n"},
            "in.csv names the column 'user_id' twice",
        ),
        (
            "topk --run={run} --users=a --output=out.csv --events=e.csv",
            {"e.csv": "user_id,user_id,item_id,rating,timestamp\nb,b,m1,5,1000000999\n"},
            "e.csv names the column 'user_id' twice",
        ),
        ("score --run={run} --input=pairs.csv --output=out.csv --batch_size=0", {}, "--batch_size is 0"),
        (
            "score --run={run} --input=pairs.csv --output=out.csv --events=e.csv",
            {"e.csv": "user_id,item_id,rating,timestamp\nb,m1,5,1000000999\na,m1,5,3\n"},
            "e.csv: An event at 3 is earlier than the user's last one",
        ),
        (
            "score --run={run} --input=pairs.csv --output=out.csv --events=e.csv",
            {"e.csv": "user_id,item_id,rating,timestamp\nb,m1,5,1000000999\na,m1,much,1000000999\n"},
            "e.csv, line 3: rating is 'much'",
        ),
        ("topk --run={run} --users=a --output=out.csv --k=0", {}, "--k is 0"),
        ("topk --run={run} --users=a --output=out.csv --k=few", {}, "invalid int value: 'few'"),
        ("topk --run={run} --users=no.csv --output=out.csv", {}, "--users no.csv does not exist"),
        ("topk --run={run} --users=no.txt --output=out.csv", {}, "--users no.txt does not exist"),
        ("topk --run={run} --users=, --output=out.csv", {}, "--users is empty"),
        ("score --run={run} --input=pairs.csv --output=", {}, "--output is empty"),
        (
            "topk --run={run} --users=in.csv --output=out.csv",
            {"in.csv": "user_id,timestamp\na,5\nb,\n"},
            "in.csv, line 3: timestamp is missing",
        ),
        ("topk --run={run} --users=a --output=out.csv --learning_rat=1", {}, "'learning_rat'"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place_and_leaves_nothing_behind(
    run, folder, capsys, argv, files, words
):
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = set(folder.iterdir())
    assert cli.main(argv.format(run=run).split()) == 2
    printed = capsys.readouterr().err
    assert words in printed and printed.startswith("error: ") and printed.count("\n") == 1
    assert set(folder.iterdir()) == before
