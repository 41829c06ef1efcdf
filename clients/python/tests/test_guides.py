"""The lines of docs/guides.md work as printed: what publishes is heard, and what consumes prints a price."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ws_gateway import connect

from .gateway import Gateway, needs_gateway, run

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(r"^## (?P<title>.*?)$|^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
IN_BROWSER = """
const { chromium } = require("playwright-core");
(async () => {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  const page = await browser.newPage();
  page.on("console", async (said) => console.log(said.text()));
  await page.addScriptTag({ content: CODE });
})();
"""


def guides() -> list[tuple[str, str, str]]:
    """Title, language and code of each block of code."""
    title, found = "", []
    for block in BLOCK.finditer((ROOT / "docs/guides.md").read_text()):
        title = block["title"] or title
        if block["code"]:
            found.append((title, block["language"], block["code"]))
    return found


GUIDES = guides()


@functools.cache
def packages() -> str:
    """Where Node.js finds npm's packages; the first call installs them."""
    helper = ROOT / "tests/guarantees/support/npm-env"
    return subprocess.run([helper], stdout=subprocess.PIPE, check=True, text=True).stdout.strip() + "/node_modules"


async def start(title: str, language: str, code: str, gateway: Gateway, directory: Path) -> asyncio.subprocess.Process:
    """Runs the lines, with the addresses of this gateway."""
    for printed, actual in (
        ("redis://localhost:6379", gateway.redis_url),
        ("-h localhost -p 6379", f"-h 127.0.0.1 -p {gateway.broker_port}"),
        ("ws://localhost:8080/ws", gateway.url),
    ):
        code = code.replace(printed, actual)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "clients/python/src"), "PYTHONUNBUFFERED": "1"}
    if language == "js":
        environment["NODE_PATH"] = packages()
        if "browser" in title:
            code = IN_BROWSER.replace("CODE", f"{code!r}")
    path = directory / f"guide.{language}"
    path.write_text(code)
    program = {"python": sys.executable, "js": "node", "sh": "sh"}[language]
    return await asyncio.create_subprocess_exec(program, path, env=environment, stdout=asyncio.subprocess.PIPE, start_new_session=True)


def test_the_guides_are_found() -> None:
    titles = [title for title, _, _ in GUIDES]
    assert len(titles) == 7
    assert sum("publish" in title for title in titles) == 3


@needs_gateway
@pytest.mark.parametrize(("title", "language", "code"), GUIDES, ids=[f"{title} ({language})" for title, language, _ in GUIDES])
def test_the_lines_work_as_printed(title: str, language: str, code: str, tmp_path: Path) -> None:
    async def publishes() -> None:
        gateway = await Gateway.start()
        async with connect(gateway.url) as client, client.subscribe("AAPL") as trades:
            await trades.ready()
            program = await start(title, language, code, gateway, tmp_path)
            assert str((await anext(aiter(trades))).price) == "150.25"
            await program.communicate()
            assert program.returncode == 0
        await gateway.stop()

    async def consumes() -> None:
        gateway = await Gateway.start()
        program = await start(title, language, code, gateway, tmp_path)
        # Nobody says when it has subscribed, so a trade comes again and again.
        heard = asyncio.Event()
        publishing = asyncio.create_task(_publish(gateway, heard))
        try:
            assert program.stdout
            assert (await program.stdout.readline()).decode().split() == ["AAPL", "150.25"]
        finally:
            heard.set()
            await publishing
            os.killpg(program.pid, 9)
            await program.communicate()
        await gateway.stop()

    if language == "js":
        # Outside of the test's own limit.
        packages()
    run(publishes if "publish" in title else consumes)


async def _publish(gateway: Gateway, heard: asyncio.Event) -> None:
    # It ends between two trades: cancelled within one, it would leave a socket open.
    seq = 0
    while not heard.is_set():
        seq += 1
        await gateway.trade("AAPL", 150.25, seq)
        await asyncio.sleep(0.05)
