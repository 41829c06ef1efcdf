"""The lines of docs/guides.md work as printed: what publishes is heard, and what consumes prints a price."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ws_gateway import connect

from .gateway import BINARY, Gateway, needs_gateway, run

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(r"^## (?P<title>.*?)$|^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
GO_REDIS = "github.com/redis/go-redis/v9@v9.12.1"
JEDIS = "redis.clients:jedis:7.5.3"
STAND_INS = Path(__file__).parent / "stand_ins"
# What shows the component of React's lines, as an application would.
AROUND_REACT = """
import { createRoot } from "react-dom/client";
import { Price } from "./guide.jsx";
const root = document.body.appendChild(document.createElement("div"));
createRoot(root).render(<Price symbol="AAPL" />);
new MutationObserver(() => console.log(root.textContent)).observe(root, { childList: true, characterData: true, subtree: true });
"""
IN_BROWSER = """
const { launch } = require("CHROMIUM");
(async () => {
  const browser = await launch();
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


@functools.cache
def client_of_go() -> Path:
    """A module that has the Redis client of Go's lines, or what stands in for it where that can't be had; skips without Go."""
    if not shutil.which("go"):
        pytest.skip("go is not installed: scripts/setup installs it")
    module = ROOT / "target/test-guides/go"
    if not (module / "go.sum").exists():
        shutil.rmtree(module, ignore_errors=True)
        module.mkdir(parents=True)
        _output(["go", "mod", "init", "guide"], module)
        if problem := _problem(["go", "get", GO_REDIS], module):
            print(f"{GO_REDIS} can't be had from the Go module proxy: {problem}")
            name = GO_REDIS.split("@")[0]
            stand_in = module / "redis"
            stand_in.mkdir()
            shutil.copy(STAND_INS / "go_redis.go", stand_in)
            (stand_in / "go.mod").write_text(f"module {name}\n")
            with (module / "go.mod").open("a") as file:
                file.write(f"require {name} v9.0.0\nreplace {name} => ./redis\n")
    return module


@functools.cache
def client_of_java() -> str:
    """The class path of the Redis client of Java's lines, or of what stands in for it where that can't be had; skips without Java."""
    if not shutil.which("javac"):
        pytest.skip("javac is not installed: scripts/setup installs it")
    directory = ROOT / "target/test-guides/java"
    directory.mkdir(parents=True, exist_ok=True)
    group, artifact, version = JEDIS.split(":")
    (directory / "pom.xml").write_text(
        f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
        <groupId>guide</groupId><artifactId>guide</artifactId><version>1</version>
        <dependencies><dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
        </dependency></dependencies></project>"""
    )
    class_path = directory / "class-path"
    maven = ["mvn", "-B", "-q", "dependency:build-classpath", f"-Dmdep.outputFile={class_path}"]
    if not class_path.exists():
        problem = _problem(maven, directory) if shutil.which("mvn") else "mvn is not installed"
        if problem:
            print(f"{JEDIS} can't be had from Maven's central repository: {problem}")
            classes = directory / "stand-in"
            _output(["javac", "-d", classes, STAND_INS / "RedisClient.java"], directory)
            return str(classes)
    return class_path.read_text()


def _output(command: list[str | Path], directory: Path) -> None:
    subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)


def _problem(command: list[str], directory: Path) -> str | None:
    """What the command said last, if it failed."""
    done = subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    said = [line for line in done.stdout.splitlines() if line.strip()]
    # Maven says what is wrong first.
    return None if done.returncode == 0 else (said[0] if command[0] == "mvn" else said[-1])[:300]


def example(title: str, code: str) -> Path:
    """The program of Rust's lines: an example of the tools, which are built with the tests."""
    name = "guide_publish" if "publish" in title else "guide_consume"
    assert (ROOT / f"tools/examples/{name}.rs").read_text() == code, f"tools/examples/{name}.rs has the same lines"
    assert BINARY
    program = Path(BINARY).parent / "examples" / name
    assert program.exists(), f"{program} is not built: cargo build -p tools --examples"
    return program


def bundle(directory: Path) -> str:
    """React's lines as a script for a browser."""
    (directory / "main.jsx").write_text(AROUND_REACT)
    esbuild: list[str | Path] = [Path(packages()) / ".bin/esbuild", "main.jsx", "--bundle", "--jsx=automatic"]
    esbuild.append("--define:process.env.NODE_ENV='production'")
    source = ROOT / "clients/js/src"
    for name, path in (
        ("@ws-gateway/client/react", source / "react.ts"),
        ("@ws-gateway/client", source / "index.ts"),
        ("react", Path(packages()) / "react"),
    ):
        esbuild.append(f"--alias:{name}={path}")
    environment = {**os.environ, "NODE_PATH": packages()}
    return subprocess.run(esbuild, cwd=directory, stdout=subprocess.PIPE, check=True, text=True, env=environment).stdout


def prepare(title: str, language: str) -> None:
    """Gets what the lines need, outside of the test's own limit."""
    if language in ("js", "jsx"):
        packages()
    elif language == "go":
        # The first build compiles the standard library as well.
        module = client_of_go()
        (module / "main.go").write_text(next(code for at, _, code in GUIDES if at == title))
        _output(["go", "build", "-o", os.devnull, "."], module)
    elif language == "java":
        client_of_java()


async def start(title: str, language: str, code: str, gateway: Gateway, directory: Path) -> asyncio.subprocess.Process:
    """Runs the lines, with the addresses of this gateway."""
    program: list[str | Path]
    printed_code = code
    for printed, actual in (
        ("redis://localhost:6379", gateway.redis_url),
        ("-h localhost -p 6379", f"-h 127.0.0.1 -p {gateway.broker_port}"),
        ("ws://localhost:8080/ws", gateway.url),
        ("http://localhost:8080", gateway.url.replace("ws:", "http:").removesuffix("/ws")),
    ):
        code = code.replace(printed, actual)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "clients/python/src"), "PYTHONUNBUFFERED": "1"}
    path = directory / f"guide.{language}"
    path.write_text(code)
    if language == "jsx":
        language, code = "js", bundle(directory)
        path = directory / "guide.js"
    if language == "js":
        environment["NODE_PATH"] = packages()
        if "browser" in title or "React" in title:
            chromium = str(ROOT / "tests/guarantees/support/chromium.js")
            code = IN_BROWSER.replace("CHROMIUM", chromium).replace("CODE", json.dumps(code))
        path.write_text(code)
    match language:
        case "rust":
            program = [example(title, printed_code), gateway.redis_url if "publish" in title else gateway.url]
        case "go":
            shutil.copy(path, client_of_go() / "main.go")
            _output(["go", "build", "-o", str(directory / "guide"), "."], client_of_go())
            program = [directory / "guide"]
        case "java":
            program = ["java", "-cp", client_of_java(), path]
        case _:
            program = [{"python": sys.executable, "js": "node", "sh": "sh"}[language], path]
    return await asyncio.create_subprocess_exec(*program, env=environment, stdout=asyncio.subprocess.PIPE, start_new_session=True)


def test_the_guides_are_found() -> None:
    titles = [title for title, _, _ in GUIDES]
    assert len(titles) == 13
    assert sum("publish" in title for title in titles) == 6


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
            line = ""
            # curl prints all that the gateway says, and React's component first that there is nothing yet.
            while not ("AAPL" in line and "150.25" in line):
                line = (await program.stdout.readline()).decode()
                assert line, "it ended without a price"
            if language not in ("sh", "jsx"):
                assert line.split() == ["AAPL", "150.25"]
        finally:
            heard.set()
            await publishing
            os.killpg(program.pid, 9)
            await program.communicate()
        await gateway.stop()

    prepare(title, language)
    run(publishes if "publish" in title else consumes)


async def _publish(gateway: Gateway, heard: asyncio.Event) -> None:
    # It ends between two trades: cancelled within one, it would leave a socket open.
    seq = 0
    while not heard.is_set():
        seq += 1
        await gateway.trade("AAPL", 150.25, seq)
        await asyncio.sleep(0.05)
