"""Folder and Danbooru sources: what they find, and how it is described."""

import json
from pathlib import Path

import pytest
from PIL import Image

from models_core.data.found import parse_source
from models_core.data.picture import Skip
from models_core.data.settings import RecipeError

POSTS = [
    {
        "id": 11,
        "rating": "g",
        "tag_string_general": "1girl long_hair o_o",
        "tag_string_character": "patchouli_knowledge",
        "tag_string_copyright": "touhou",
        "tag_string_artist": "somebody",
        "tag_string_meta": "highres",
    },
    {"id": 12, "rating": "e", "tag_string": "1girl long_hair"},
    {"id": 13, "rating": "g", "md5": "abc13", "tag_string": "1boy comic"},
    {
        "id": "14",
        "rating": "s",
        "tags": [
            {"name": "1girl", "category": "0"},
            {"name": "remilia_scarlet", "category": "4"},
            {"name": "somebody", "category": "1"},
        ],
    },
    {"id": 15, "rating": "g", "tag_string": "1girl"},
]


def noise(file: Path, size: tuple[int, int] = (48, 48)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 80).convert("RGB").save(file)
    return file


@pytest.fixture
def dump(tmp_path) -> Path:
    for name in ("0011/11.png", "12.jpg", "ab/abc13.png", "14.webp"):
        noise(tmp_path / "images" / name)
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(post) + "\n" for post in POSTS))
    return tmp_path


def danbooru(folder: Path, tags: str = "", **more):
    row = {"kind": "danbooru-json", "metadata": "posts.jsonl", "images": "images", "tags": tags}
    return parse_source({**row, **more}, folder)


def ids(source) -> list[str]:
    return [entry.payload["id"] for entry in source.entries("", "")]


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ("", [11, 12, 13, 14, 15]),
        ("1girl rating:general", [11, 15]),
        ("1girl -rating:explicit", [11, 14, 15]),
        ("1girl -touhou", [12, 14, 15]),
        ("patchouli_knowledge", [11]),
        ("somebody", [11, 14]),  # artists can be asked for
    ],
)
def test_posts_are_chosen_by_tags(dump, tags, wanted):
    assert ids(danbooru(dump, tags)) == [f"danbooru-{i}" for i in wanted]


def test_a_post_is_described_by_character_copyright_and_general_tags(dump):
    first, *_, fourth, last = danbooru(dump).entries("", "")
    assert first.payload["tags"] == ["patchouli knowledge", "touhou", "1girl", "long hair", "o_o"]
    assert fourth.payload["tags"] == ["remilia scarlet", "1girl"]
    found = danbooru(dump, licence="by each artist").fetch(first.payload, 64, 32)
    assert (found.id, found.source) == ("danbooru-11", "danbooru/11")
    assert found.licence == "by each artist"
    with pytest.raises(Skip, match="no such file"):
        danbooru(dump).fetch(last.payload, 64, 32)


def test_a_dump_may_be_one_array_and_images_named_by_md5(dump):
    (dump / "posts.jsonl").write_text(json.dumps(POSTS))
    source = danbooru(dump)
    assert ids(source) == [f"danbooru-{i}" for i in (11, 12, 13, 14, 15)]
    payloads = [entry.payload for entry in source.entries("", "")]
    assert payloads[2]["file"].endswith("abc13.png")


def test_a_count_takes_the_first_and_keys_follow_the_file(dump):
    source = danbooru(dump, "1girl").limited(2)
    before = list(source.entries("", ""))
    assert len(before) == 2
    noise(dump / "images/0011/11.png", (50, 50))
    after = list(source.entries("", ""))
    assert after[0].key != before[0].key
    assert after[1].key == before[1].key


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{broken", "line 6 is not JSON"),
        ('{"rating": "g"}', "line 6: a post without an id"),
        ('{"id": "../../x"}', "line 6: a post without an id"),
    ],
)
def test_a_faulty_dump_names_the_line(dump, line, says):
    with (dump / "posts.jsonl").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(RecipeError, match=says):
        list(danbooru(dump).entries("", ""))


def test_a_folder_reads_its_sidecars(tmp_path):
    for name in ("b/plain.png", "a.png", "c.jpg", "d.png"):
        noise(tmp_path / "in" / name)
    (tmp_path / "in/a.txt").write_text("long hair, hat\nsmiling\n")
    said = {"tags": "1boy, hat", "caption": "a boy", "licence": "CC0", "source": "a book"}
    (tmp_path / "in/c.json").write_text(json.dumps(said))
    (tmp_path / "in/d.json").write_text("[1, 2")
    source = parse_source({"kind": "folder", "path": "in", "licence": "mine"}, tmp_path)
    a, plain, c, d = source.entries("", "")
    assert a.payload["tags"] == ["long hair", "hat", "smiling"]
    assert plain.payload["tags"] == []
    found = source.fetch(c.payload, 64, 32)
    assert (found.tags, found.caption) == (["1boy", "hat"], "a boy")
    assert (found.licence, found.source) == ("CC0", "a book")
    assert source.fetch(a.payload, 64, 32).licence == "mine"
    with pytest.raises(Skip, match="unreadable sidecar"):
        source.fetch(d.payload, 64, 32)
    some = parse_source({"kind": "folder", "path": "in", "tags": "hat -1boy"}, tmp_path)
    files = [Path(entry.payload["file"]).name for entry in some.entries("", "")]
    assert files == ["a.png", "d.png"]  # what cannot be read is told, not overlooked


def test_the_same_picture_has_the_same_id_wherever_it_lies(tmp_path):
    one = noise(tmp_path / "in/one.png")
    Image.open(one).save(tmp_path / "in/two.bmp")
    source = parse_source({"kind": "folder", "path": "in"}, tmp_path)
    first, second = (source.fetch(e.payload, 64, 32) for e in source.entries("", ""))
    assert first.id == second.id
    assert len(first.id) == 24


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"kind": "folder", "path": "nowhere"}, "does not exist"),
        ({"kind": "folder", "path": "images", "tag": "x"}, "folder has no key 'tag'"),
        ({"kind": "folder", "path": "images", "count": "3"}, "is not of type int"),
        ({"kind": "folder", "path": "images", "count": 0}, "count must be a number from 1"),
        ({"kind": "folder", "path": "images", "tags": "order:id"}, "is not supported"),
        ({"kind": "folder", "path": "images", "flip": 1}, "is not of type bool"),
        ({"kind": "danbooru-json", "images": "images"}, "metadata"),
    ],
)
def test_a_faulty_source_is_refused(dump, row, says):
    with pytest.raises((RecipeError, KeyError), match=says):
        parse_source(row, dump)
