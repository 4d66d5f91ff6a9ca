"""`python -m microturn.background --schema`: the JSON schema of a context package."""

import sys

import msgspec

from microturn.background.package import schema

if sys.argv[1:] != ["--schema"]:
    sys.exit("usage: python -m microturn.background --schema")
print(msgspec.json.format(msgspec.json.encode(schema())).decode())
