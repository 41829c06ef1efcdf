"""The README's first lines work as printed, in an empty project that has nothing but this package."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from .gateway import Gateway, needs_gateway, run

PACKAGE = Path(__file__).resolve().parents[1]


@needs_gateway
def test_the_lines_work_as_printed_in_an_empty_project(tmp_path: Path) -> None:
    readme = (PACKAGE / "README.md").read_text()
    found = re.search(r"```python\n(import.*?)```", readme, re.DOTALL)
    assert found
    code = found[1]
    assert len([line for line in code.splitlines() if line]) <= 12

    # Outside of the test's own limit: it may take as long as the network does.
    python = tmp_path / ".venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / ".venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE], check=True)

    async def scene() -> None:
        gateway = await Gateway.start()
        (tmp_path / "prices.py").write_text(code.replace("ws://localhost:8080/ws", gateway.url))
        program = await asyncio.create_subprocess_exec(python, "-u", "prices.py", cwd=tmp_path, stdout=asyncio.subprocess.PIPE)
        assert program.stdout
        while "open" not in (await program.stdout.readline()).decode():
            pass
        # The subscribe is on its way: a snapshot brings the price, whichever comes first.
        await gateway.trade("AAPL", 150.25, 1)
        while "AAPL 150.25" not in (line := (await program.stdout.readline()).decode()):
            assert line
        program.kill()
        await program.wait()
        await gateway.stop()

    run(scene)
