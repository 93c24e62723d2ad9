"""What visitors are told when there is no avatar for them; the page's script reads it too."""

from __future__ import annotations

from typing import TypedDict


class Notice(TypedDict):
    title: str
    what: str


# By the `code` of the API's problem. Codes that are not here show the problem's own words.
NOTICES: dict[str, Notice] = {
    "throttled": {
        "title": "That was quick",
        "what": "You have asked for many avatars in a short time.",
    },
    "no_worker": {
        "title": "Nobody is drawing right now",
        "what": "No such avatar is on the shelf and no worker has been heard from. If this server "
        "is yours, start a worker; it fills the shelf by itself.",
    },
    "no_pool": {
        "title": "The booth is not set up yet",
        "what": "This server has no style to draw in. If it is yours, load a release first.",
    },
    "pool_paused": {
        "title": "This style is paused",
        "what": "No such avatar is on its shelf and nobody draws new ones for now. Try another "
        "style or come back later.",
    },
    "pool_retired": {
        "title": "This style is no longer drawn",
        "what": "No such avatar is on its shelf and none will come. Try another style.",
    },
    "pool_in_trouble": {
        "title": "The last drawings failed",
        "what": "No such avatar is on the shelf and the worker could not draw any. It will be "
        "tried again by itself.",
    },
    "line_full": {
        "title": "The line is full",
        "what": "Very many people are waiting already.",
    },
    "too_many_tickets": {
        "title": "You are in line already",
        "what": "You wait for several avatars at once; let the first of them come.",
    },
    "ticket_expired": {
        "title": "Your place in line has run out",
        "what": "No avatar was drawn for you in time. Ask for one again.",
    },
    "no_connection": {
        "title": "No connection",
        "what": "The server did not answer. Check your connection, then try again.",
    },
    "no_picture": {
        "title": "The picture did not arrive",
        "what": "Your avatar is kept on your strip: reload the page to see it.",
    },
}


def notice(code: str, title: str, detail: str, retry_after: int | None = None) -> Notice:
    """The notice for a problem, with the time to try again where the server gave one."""
    found = NOTICES.get(code) or Notice(title=title, what=detail)
    if not retry_after:
        return found
    return Notice(title=found["title"], what=f"{found['what']} {try_again(retry_after)}")


def try_again(seconds: int) -> str:
    if seconds < 90:
        return f"Try again in {seconds} second{'' if seconds == 1 else 's'}."
    return f"Try again in {round(seconds / 60)} minutes."


def describe(tags: list[str]) -> str:
    """An avatar in words: its title and its alternative text."""
    return "Cartoon avatar" + (f": {', '.join(tags)}" if tags else "")


def place_in_line(position: int | None) -> str:
    return f"Number {position} in line" if position and position > 1 else "You are next"


def expected_wait(seconds: int) -> str:
    return f"about {seconds} s" if seconds < 90 else f"about {round(seconds / 60)} minutes"
