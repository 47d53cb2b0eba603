"""The vendor's own client for ApsaraMQ for MQTT, driven by a test.

Reads one JSON object a line, {"action": "ApplyToken", "parameters": {"Actions": "R"}}, calls the endpoint with it, and
writes one JSON object a line: {"ok": <the answer's body>} or {"error": {"status": .., "code": .., "message": ..}}.

Environment: ENDPOINT (host:port), CA (a PEM file), ALGORITHM (ACS3-HMAC-SHA256, or v2 for RPC v1), KEY_ID, KEY_SECRET.
"""

import json
import os
import re
import sys

from alibabacloud_onsmqtt20200420 import models
from alibabacloud_onsmqtt20200420.client import Client
from alibabacloud_tea_openapi.models import Config
from alibabacloud_tea_util.models import RuntimeOptions


def client() -> Client:
    return Client(
        Config(
            access_key_id=os.environ["KEY_ID"],
            access_key_secret=os.environ["KEY_SECRET"],
            endpoint=os.environ["ENDPOINT"],
            signature_algorithm=os.environ["ALGORITHM"],
        )
    )


def call(caller: Client, action: str, parameters: dict) -> dict:
    method = re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower() + "_with_options"
    request = getattr(models, action + "Request")().from_map(parameters)
    runtime = RuntimeOptions(ca=os.environ["CA"], read_timeout=20000, connect_timeout=5000, autoretry=False)
    return getattr(caller, method)(request, runtime).body.to_map()


def main() -> None:
    caller = client()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"ok": call(caller, asked["action"], asked["parameters"])}
        except Exception as error:  # Whatever it is, the test has to see it.
            data = getattr(error, "data", None) or {}
            status = getattr(error, "status_code", None) or getattr(error, "statusCode", None) or data.get("statusCode")
            message = getattr(error, "message", None) or str(error)
            told = {"kind": type(error).__name__, "status": status, "code": getattr(error, "code", None)}
            answer = {"error": {**told, "message": str(message)}}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
