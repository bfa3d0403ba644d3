"""A browser and its system in words, from what it says of itself."""

# The first that is found: some name others, of whom they take themselves to be a sort.
BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser/": "Samsung Internet",
    "Firefox/": "Firefox",
    "FxiOS/": "Firefox",
    "Chrome/": "Chrome",
    "CriOS/": "Chrome",
    "Safari/": "Safari",
}
SYSTEMS = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


def in_words(user_agent: str) -> str:
    """Such as "Firefox · Windows"; of one that is no browser what it says."""
    found = [
        next((name for mark, name in names.items() if mark in user_agent), None) for names in (BROWSERS, SYSTEMS)
    ]
    return " · ".join(name for name in found if name) or user_agent
