from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webgui.accounts import audit
from webgui.registry import composition, options, parameters, vocabularies
from webgui.registry.composition import LoraWish, Wish
from webgui.registry.problems import DoesNotFit

PART = "a part's digest, a checkpoint's id, or a release's digest"


class Command(BaseCommand):
    help = (
        "Compose a release of checkpoints and of parts of other releases. It becomes a draft. "
        "With --options, say what there is and what fits with the parts that are named."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("title", nargs="?", default="", help="the release's title")
        for slot in composition.SINGLE:
            parser.add_argument(f"--{slot}", default="", metavar="PART", help=PART)
        parser.add_argument(
            "--lora", action="append", default=[], metavar="PART[=WEIGHT]", help=f"{PART}; weight 1"
        )
        parser.add_argument(
            "--vocabulary",
            default=vocabularies.OF_PROTOTYPE,
            help="prototype, none, or the digest of a release that has the tags",
        )
        parser.add_argument(
            "--prefix", action="append", default=[], metavar="WORDS", help="before every caption"
        )
        parser.add_argument(
            "--param",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=f"{', '.join(parameters.PARAMETERS)}, scheduler",
        )
        parser.add_argument("--description", default="")
        parser.add_argument("--credit", action="append", default=[], help="whom to thank")
        parser.add_argument("--options", action="store_true", help="only say what fits")

    def handle(self, *args: Any, **given: Any) -> None:
        wish = Wish(
            title=given["title"],
            description=given["description"],
            loras=tuple(_lora(text) for text in given["lora"]),
            vocabulary=given["vocabulary"],
            prefix=tuple(given["prefix"]),
            params=dict(_named(text) for text in given["param"]),
            credits=tuple(given["credit"]),
            **{slot: given[slot] for slot in composition.SINGLE},
        )
        if given["options"]:
            self._say_options(wish)
            return
        try:
            release, new = composition.compose(wish, audit.COMMAND_LINE)
        except DoesNotFit as problem:
            lines = [f"  {name}: {said}" for name, said in problem.faults.items()]
            raise CommandError("\n".join([f"{problem.title}:", *lines])) from problem
        self.stdout.write(f"Release {release}: {'composed' if new else 'known already'}.")
        self.stdout.write(release.digest)

    def _say_options(self, wish: Wish) -> None:
        for slot, offered in options.narrow(wish).slots.items():
            self.stdout.write(f"{slot}:")
            for option in offered:
                mark = "*" if option.chosen else "-" if option.reason else " "
                told = f"{option.part.digest} {option.part.title} ({option.sizes})"
                self.stdout.write(f" {mark} {told}{option.reason and f'  {option.reason}'}")


def _lora(text: str) -> LoraWish:
    part, _, weight = text.partition("=")
    return LoraWish(part, weight or 1.0)


def _named(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise CommandError(f"--param {text}: write NAME=VALUE, such as steps=10.")
    return name, value
