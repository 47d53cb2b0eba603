"""Makes a token as any backend could: with a JWT library that knows nothing of mqtt-access.

Reads the claims as JSON from its input; TOKEN_KEY is the `tokenKey` of the access key's Secret.
"""

import json
import os
import sys

import jwt

print(jwt.encode(json.load(sys.stdin), os.environ["TOKEN_KEY"], algorithm="HS256"), end="")
