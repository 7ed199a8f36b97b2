"""A WSGI app; gunicorn's master is the process that gets SIGTERM, and its workers finish their requests."""

import json
import os
from pathlib import Path

MESSAGES = json.loads((Path(__file__).parents[2] / "packages" / "messages" / "messages.json").read_text())
ANSWER = f"{MESSAGES['greeting']} from api\n".encode()
VERSION = os.environ.get("SUBSTITUTE_COMMIT", "")


def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or ANSWER
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("X-Version", VERSION)]
    start_response("200 OK", headers)
    return [body]
