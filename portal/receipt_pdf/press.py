"""The process that sets receipts: words in, pages out, until nobody has asked for a while.

It is started as a script, without the rest of the portal. Each message, either way, is its length in four bytes, then
that many bytes: JSON in; out one byte, 1 for a PDF and 0 for why there is none, then the PDF or the reason.
"""

import select
import struct
import sys
from io import FileIO
from pathlib import Path

import typst

TEMPLATE = Path(__file__).with_name("receipt.typ")
IDLE_S = 300


def set_page(compiler: typst.Compiler, words: str) -> bytes:
    """One receipt. A name in a script that no font here has can't be PDF/UA; then it is a plain tagged PDF."""
    inputs = {"words": words}
    try:
        made = compiler.compile(format="pdf", sys_inputs=inputs, pdf_standards=["ua-1"])
    except typst.TypstError as error:
        if "could not be displayed" not in str(error):
            raise
        made = compiler.compile(format="pdf", sys_inputs=inputs, pdf_standards=["1.7"])
    assert isinstance(made, bytes), "one PDF"
    return made


def serve() -> None:
    """Set what is asked for, until the other end hangs up or has been quiet for five minutes."""
    compiler = typst.Compiler(TEMPLATE)
    asked, answers = FileIO(0, closefd=False), sys.stdout.buffer
    while select.select([asked], [], [], IDLE_S)[0]:
        words = _read(asked)
        if words is None:
            return
        try:
            answer = b"\1" + set_page(compiler, words.decode())
        except Exception as error:  # noqa: BLE001  whatever it trips over is told to whoever asked, not to a log
            answer = b"\0" + type(error).__name__.encode()
        answers.write(struct.pack(">I", len(answer)) + answer)
        answers.flush()


def _read(asked: FileIO) -> bytes | None:
    head = _exactly(asked, 4)
    return None if head is None else _exactly(asked, struct.unpack(">I", head)[0])


def _exactly(asked: FileIO, count: int) -> bytes | None:
    got = b""
    while len(got) < count:
        more = asked.read(count - len(got))
        if not more:
            return None
        got += more
    return got


if __name__ == "__main__":
    serve()
