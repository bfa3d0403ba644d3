"""What a session says of the browser that opened it."""

import pytest

from api.console.account.agents import in_words

LIKE = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) {} Safari/537.36"


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (LIKE.format("X11; Linux x86_64", "Chrome/140.0.0.0"), "Chrome · Linux"),
        (LIKE.format("Linux; Android 15; Pixel 9", "Chrome/140.0 Mobile"), "Chrome · Android"),
        (LIKE.format("Windows NT 10.0; Win64; x64", "Chrome/140.0") + " Edg/140.0", "Edge · Windows"),
        (LIKE.format("iPhone; CPU iPhone OS 18_0 like Mac OS X", "Version/18.0"), "Safari · iPhone"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox · Linux"),
        ("python-httpx/0.28", "python-httpx/0.28"),
    ],
)
def test_a_session_is_of_a_browser_and_a_system_in_words_or_of_what_the_program_says(
    user_agent: str, words: str
) -> None:
    assert in_words(user_agent) == words
