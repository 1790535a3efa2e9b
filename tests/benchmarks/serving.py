"""Output tokens per second and time to the first token at the endpoint: `python tests/benchmarks/serving.py [--recipe NAME]`.

Runs a recipe (demo) through services of its own, then lets 1, 4 and 16 clients stream greedy completions of at most 64
tokens through the real `openai` client, four each, one after the other. The peer is transformers' `generate` on the same
export in a process of its own, one prompt at a time, with as many threads as the replica has (1). Both are interleaved, `--runs`
(3) times. The last line is one JSON object of medians: `ours` (tokens/s by number of clients), `first_token_ms`,
`peers`, `ratio` (one client over the peer).
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

sys.path.append(str(Path(__file__).parents[1] / "support"))
from homes import Site, new_site

CLIENTS, REQUESTS, TOKENS = (1, 4, 16), 4, 64
PROMPTS = ("Emma was", "It is a truth", "The king had", "My dear sister")
PEER = """
import json, sys, time, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, tokens, prompts = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
torch.set_num_threads(1)
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
def answer(prompt):
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    return model.generate(ids, max_new_tokens=tokens, do_sample=False).shape[1] - ids.shape[1]
answer(prompts[0])
started = time.perf_counter()
made = sum(answer(prompt) for prompt in prompts)
print(json.dumps(made / (time.perf_counter() - started)))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    site = new_site("serving")
    try:
        model = site.json("run", asked.recipe)["model"]
        export = site.json("show", f"{model['name']}/{model['version']}")["path"]
        alone, rates, waits = [], {n: [] for n in CLIENTS}, {n: [] for n in CLIENTS}
        asyncio.run(streamed(site, model["name"], 1))
        for _ in range(asked.runs):
            alone.append(generated(export))
            for clients in CLIENTS:
                rate, wait = asyncio.run(streamed(site, model["name"], clients))
                rates[clients].append(rate)
                waits[clients].append(wait)
                print(f"{clients} clients: {rate:.0f} tokens/s, {wait * 1000:.0f} ms to the first token", flush=True)
            print(f"generate: {alone[-1]:.0f} tokens/s", flush=True)
    finally:
        site.close()
    ours = {clients: round(statistics.median(found), 1) for clients, found in rates.items()}
    peer = round(statistics.median(alone), 1)
    first = {clients: round(1000 * statistics.median(found)) for clients, found in waits.items()}
    row = {"ours": ours, "first_token_ms": first, "peers": {"generate": peer}, "ratio": round(ours[1] / peer, 3)}
    print(json.dumps({**row, "runs": asked.runs}))


def generated(export: str) -> float:
    """Tokens per second of transformers' own loop."""
    command = [sys.executable, "-c", PEER, export, str(TOKENS), *PROMPTS]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


async def streamed(site: Site, model: str, clients: int) -> tuple[float, float]:
    """Tokens per second of so many clients at once, and the median seconds to a first token."""
    status = site.json("status")
    url, key = status["services"]["serve"]["url"], Path(status["api_key_file"]).read_text().strip()
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key) as client:
        started = time.perf_counter()
        found = await asyncio.gather(*(session(client, model) for _ in range(clients)))
        took = time.perf_counter() - started
    answers = [answer for answers in found for answer in answers]
    return sum(made for _, made in answers) / took, statistics.median(wait for wait, _ in answers)


async def session(client: AsyncOpenAI, model: str) -> list[tuple[float, int]]:
    """(seconds to the first token, tokens) of each request of one client."""
    return [await answer(client, model, PROMPTS[number % len(PROMPTS)]) for number in range(REQUESTS)]


async def answer(client: AsyncOpenAI, model: str, prompt: str) -> tuple[float, int]:
    """One request."""
    started, first, made = time.perf_counter(), 0.0, 0
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    async for event in await client.completions.create(
        model=model, prompt=prompt, max_tokens=TOKENS, temperature=0, **options
    ):
        first = first or time.perf_counter() - started
        made = event.usage.completion_tokens if event.usage else made
    return first, made


if __name__ == "__main__":
    main()
