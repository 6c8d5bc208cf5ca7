"""The yardstick: a bare Flask "hello", on the same server as the product."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    """As little as Flask can do."""
    return "hello"
