"""`python -m xnnlib.data download tiny-imagenet --to DIR`: fetch a public data set."""

import argparse
import sys

from xnnlib.data.download import DOWNLOADS, download
from xnnlib.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m xnnlib.data", description="The public data sets.")
    commands = parser.add_subparsers(required=True, metavar="download")
    fetch = commands.add_parser("download", help="fetch a public data set; see download --help")
    fetch.add_argument("name", help=f"one of {', '.join(DOWNLOADS)}")
    fetch.add_argument("--to", required=True, metavar="DIR", help="the folder to keep it in")
    options = parser.parse_args(arguments)
    try:
        for path in download(options.name, options.to):
            print(path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
