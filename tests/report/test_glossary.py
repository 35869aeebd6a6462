"""The words that a page has are explained on it, and no others; what stands in markup is no word of it."""

from barlow.report.glossary import WORDS, glossary


def test_only_words_of_the_page_are_explained() -> None:
    found = glossary('<p class="floor">A waterline and its null edge</p>')
    assert "<dt>waterline</dt>" in found
    assert "<dt>null edge</dt>" in found
    assert "<dt>floor</dt>" not in found
    assert found.count("<dt>") == 2
    assert glossary("<p>nothing of the kind</p>") == ""


def test_every_word_is_found_as_it_stands() -> None:
    for word in WORDS:
        assert f"<dt>{word}</dt>" in glossary(f"<p>{word.upper()}</p>"), word
