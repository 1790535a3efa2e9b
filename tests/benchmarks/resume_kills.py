"""50 SIGKILLs at seeded random moments of a small fit; the same command again must end in the bits of the undisturbed run.

Killed are the one process of a phase, one of two workers, whoever writes a checkpoint or the export (at named points), and,
three times, a real Ray Train: a worker twice, the driver once. transformers' Trainer is killed ten times for comparison, and
resumed as its documentation says. Prints a line for each kill, and as the last one {"ours": part of the kills that ended in
equal bits, "peers": {"transformers": the same}, "ratio", "most_repeated_seconds", "checkpoint_seconds", "runs"}.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import psutil
from killing import configured, content, ended, forked, kill_at, make_samples, since_checkpoint
from torch import distributed

from components.artifacts import Samples
from components.models import family
from components.training import arithmetic, export, loop, writer  # noqa: F401  # imported once, before the forks
from components.training.config import Job
from components.training.distributed import _work
from components.training.train import train

SEED, STEPS, INTERVAL = 4, 200, 0.25
KILLS = [*["process"] * 20, *["worker"] * 12, *["checkpoint"] * 10, *["export"] * 5]
RAY_KILLS = ["ray worker", "ray driver", "ray worker"]
PEER_KILLS = 10
POINTS = {"checkpoint": ("begun", "written", "committed"), "export": ("begun", "written")}


class Fit:
    """The same fit again and again, each time in a folder of its own."""

    def __init__(self, folder, samples, chance, num_workers):
        self.folder, self.samples, self.chance, self.workers = folder, samples, chance, max(1, num_workers)
        self.config = configured(num_workers, STEPS, INTERVAL)
        started = time.monotonic()
        self.expected = self.finish(folder / f"undisturbed-{num_workers}")
        self.seconds = time.monotonic() - started

    def start(self, scratch, fault=""):
        """The processes of an attempt."""
        if self.workers == 1:
            return [forked(lambda: self.verb(scratch), fault)]
        meeting = Path(tempfile.mkdtemp(dir=self.folder)) / "meeting"

        def worker(rank):
            place = {"init_method": f"file://{meeting}", "rank": rank, "world_size": self.workers}
            distributed.init_process_group("gloo", **place)
            _work(Job(self.config, self.samples, None, scratch).as_json())
            distributed.destroy_process_group()

        return [forked(lambda rank=rank: worker(rank)) for rank in range(self.workers)]

    def verb(self, scratch):
        """The whole phase, with whatever is left of it."""
        out = scratch / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        train(self.config, self.samples, None, out=out, scratch=scratch, report=lambda row: None)

    def finish(self, scratch):
        """Train to the end; the content of the export."""
        scratch.mkdir(exist_ok=True)
        if self.workers > 1:
            assert not any(ended(self.start(scratch)))
        assert not any(ended([forked(lambda: self.verb(scratch))]))
        return content(scratch / "out")

    def killed(self, kind, scratch):
        """Kill once, at random; (what was done, seconds of work lost)."""
        while True:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            if kind in POINTS:
                point, nth = (
                    self.chance.choice(POINTS[kind]),
                    self.chance.randrange(3) + 1 if kind == "checkpoint" else 1,
                )
                where = f"{kind}.{point}:{nth}"
                died = ended(self.start(scratch, fault=where))[0] == signal.SIGKILL
                at = time.time() if died else None
            else:
                moment = self.chance.uniform(0.02, 0.98) * self.seconds
                attempt = self.start(scratch)
                at = kill_at(time.monotonic() + moment, victim := self.chance.choice(attempt))
                where = f"{kind} {attempt.index(victim)} after {moment:.2f} s"
                for other in set(attempt) - {victim}:  # Ray Train replaces the whole group
                    with suppress(ProcessLookupError):
                        os.kill(other, signal.SIGKILL)
                ended(attempt)
            if at:  # else it was done before its time had come: again
                return where, since_checkpoint(scratch / "checkpoints", at)


class RayFit(Fit):
    """The same on Ray Train, which starts a killed group again by itself."""

    def start(self, scratch, fault=""):
        """The driver."""
        return [forked(lambda: self.verb(scratch), fault)]

    def at_work(self, scratch):
        """A driver whose workers have written a checkpoint; None where it ended before."""
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        [driver] = self.start(scratch)
        while not list(scratch.glob("checkpoints/step-*")):
            if psutil.Process(driver).status() == psutil.STATUS_ZOMBIE:
                ended([driver])
                return None
            time.sleep(0.05)
        return driver

    def killed(self, kind, scratch):
        """Kill a worker, which Ray replaces, or the driver; when the driver has ended."""
        while not (driver := self.at_work(scratch)):
            print("     Ray did not start; again")
        time.sleep(self.chance.uniform(0, INTERVAL))
        children = psutil.Process(driver).children(recursive=True)
        workers = [child.pid for child in children if "RayTrainWorker" in " ".join(child.cmdline())]
        victim = self.chance.choice(workers) if kind == "ray worker" else driver
        os.kill(victim, signal.SIGKILL)
        lost = since_checkpoint(scratch / "checkpoints", time.time())
        ended([driver])
        if kind == "ray driver":  # its Ray dies with it; nothing of it may still write when the next one begins
            psutil.wait_procs(children, timeout=30)
        return f"{kind} {victim}", lost


class Peer(Fit):
    """transformers' Trainer, with the same model and texts, and a checkpoint about as often."""

    def verb(self, scratch):
        """Train from the last checkpoint, if there is one."""
        import torch
        from transformers import Trainer, TrainingArguments
        from transformers.trainer_utils import get_last_checkpoint

        from components.training.loader import Loader
        from components.training.model import fresh_model

        torch.set_num_threads(1)
        loader = Loader(self.samples, batch_size=8, seed=0)
        rows = [loader.samples([number]).input_ids[0] for number in range(loader.num_samples)]
        arguments = TrainingArguments(
            output_dir=str(scratch / "checkpoints"),
            max_steps=STEPS,
            per_device_train_batch_size=8,
            save_steps=20,
            save_total_limit=2,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(
            model=fresh_model(self.config, self.samples),
            args=arguments,
            train_dataset=[{"input_ids": row, "labels": row} for row in rows],
        )
        folder = scratch / "checkpoints"
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)) if folder.exists() else None)
        trainer.save_model(str(scratch / "out"))

    def finish(self, scratch):
        """The weights; None where it could not be resumed."""
        scratch.mkdir(exist_ok=True)
        if any(ended([forked(lambda: self.verb(scratch))])):
            return None
        return content(scratch / "out")["model.safetensors"]


def trial(fit, kind, number):
    """One kill and the run after it."""
    scratch = fit.folder / f"{kind.replace(' ', '-')}-{number}"
    where, lost = fit.killed(kind, scratch)
    equal = fit.finish(scratch) == fit.expected
    shutil.rmtree(scratch)
    shown = "no checkpoint yet" if lost is None else f"{lost:.2f} s of work lost"
    print(f"{number + 1:>3}  {where:<34} {shown:<22} {'equal bits' if equal else 'OTHER BITS'}", flush=True)
    return {"kind": kind, "where": where, "lost_seconds": lost, "equal": equal}


def main():
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    os.environ.pop("RAY_ADDRESS", None)
    family("llama").on_meta("debug")
    chance = random.Random(SEED)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        assert not any(ended([forked(lambda: make_samples(folder))]))  # it starts threads, which no fork survives
        samples = Samples(folder / "samples")
        fits = {1: Fit(folder, samples, chance, 0), 2: Fit(folder, samples, chance, 2)}
        print(f"undisturbed: {fits[1].seconds:.1f} s in one process, {fits[2].seconds:.1f} s in two")
        runs = [trial(fits[2 if kind == "worker" else 1], kind, number) for number, kind in enumerate(KILLS)]
        on_ray = RayFit.__new__(RayFit)
        on_ray.__dict__.update(fits[2].__dict__)  # the same bits are expected of it
        runs += [trial(on_ray, kind, len(KILLS) + number) for number, kind in enumerate(RAY_KILLS)]
        print("transformers' Trainer")
        peer = Peer(folder, samples, chance, 0)
        others = [trial(peer, "process", number) for number in range(PEER_KILLS)]
    ours, theirs = (sum(run["equal"] for run in found) / len(found) for found in (runs, others))
    lost = [run["lost_seconds"] for run in runs if run["lost_seconds"] is not None]
    answer = {"ours": ours, "peers": {"transformers": theirs}, "ratio": ours / theirs if theirs else None}
    answer |= {"most_repeated_seconds": round(max(lost), 2), "checkpoint_seconds": INTERVAL}
    print(json.dumps({**answer, "runs": runs, "peer_runs": others}))


if __name__ == "__main__":
    main()
