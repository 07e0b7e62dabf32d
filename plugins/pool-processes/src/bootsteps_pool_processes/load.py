"""Who may be given what: a child holds little more than it runs, measured in time."""

from __future__ import annotations

from bootsteps import Job

__all__ = ["HELD_MOST", "OVERDUE_S", "WINDOW_S", "Load", "RunTimes", "WideLoad"]

#: Beyond its running job a child holds work worth so many seconds.
WINDOW_S = 0.005
#: And so many jobs at most, the running one included.
HELD_MOST = 64
#: A child that says nothing for so long beyond what was expected is taken to be stuck in a long job.
OVERDUE_S = 0.020
#: The weight of the newest run in a mean. One run of 10 s among runs of 1 ms keeps its kind unbatched for 50 jobs.
NEWEST = 0.1
#: What is assumed of a kind that never ran: long enough that nothing is put behind it.
UNKNOWN_S = 3600.0


class RunTimes:
    """Exponentially weighted mean run times, in seconds."""

    def __init__(self) -> None:
        self._by_kind: dict[str, float] = {}
        #: Of all kinds together; None before the first run.
        self.typical: float | None = None

    def note(self, kind: str, seconds: float) -> None:
        """Take a run into account."""
        mean = self._by_kind.get(kind, seconds)
        self._by_kind[kind] = mean + NEWEST * (seconds - mean)
        typical = seconds if self.typical is None else self.typical
        self.typical = typical + NEWEST * (seconds - typical)

    def expected(self, kind: str) -> float:
        """Return how long a job of this kind probably runs."""
        return self._by_kind.get(kind, UNKNOWN_S)


class Load:
    """The jobs that a child was given and has not reported, and the time that they probably take."""

    def __init__(self) -> None:
        self.jobs: dict[int, tuple[Job, float]] = {}
        #: Seconds for all of them.
        self.seconds = 0.0
        #: When the child last reported, or was given work while idle (monotonic seconds).
        self._since = 0.0
        #: It runs something long, or does not run at all: give it nothing more before it reports.
        self.stuck = False

    def add(self, job: Job, expected: float, now: float) -> None:
        """Note a job that it is given."""
        if not self.jobs:
            self._since = now
        self.jobs[job.seq] = (job, expected)
        self.seconds += expected

    def remove(self, seq: int) -> Job | None:
        """Note that it does not have this job any more, and return it."""
        entry = self.jobs.pop(seq, None)
        if entry is None:
            return None
        self.seconds = self.seconds - entry[1] if self.jobs else 0.0
        return entry[0]

    def reported(self, now: float) -> None:
        """Note a sign of life."""
        self._since = now
        self.stuck = False

    @property
    def queued(self) -> bool:
        """Jobs may wait behind the one that runs, and were not yet taken back."""
        return len(self.jobs) > 1 and not self.stuck

    @property
    def rank(self) -> tuple[int, float]:
        """The smaller, the sooner it gets the next job: idle ones first, stuck ones last."""
        return (2 if self.stuck else 1 if self.jobs else 0), self.seconds

    def overdue(self, now: float) -> bool:
        """Tell whether others wait behind a job that runs longer than expected."""
        return self.queued and now - self._since > OVERDUE_S + min(self.seconds, WINDOW_S)

    def takes(self, expected: float) -> bool:
        """Tell whether a job may be given to it: it is idle, or all that it has and the job are short."""
        if self.stuck:
            return False
        return not self.jobs or (len(self.jobs) < HELD_MOST and expected <= self._room())

    def room(self, typical: float | None) -> int:
        """Return how many typical jobs (seconds each; None = unknown) it would take."""
        if self.stuck:
            return 0
        running = 0 if self.jobs else 1
        if typical is None:
            return running
        behind = int(self._room() / max(typical, 1e-9))
        return max(running, min(running + behind, HELD_MOST - len(self.jobs)))

    def _room(self) -> float:
        """Return the seconds of work that may be put behind its running job."""
        if not self.jobs:
            return WINDOW_S
        running = next(iter(self.jobs.values()))[1]
        return WINDOW_S - (self.seconds - running) if running <= WINDOW_S else 0.0


class WideLoad:
    """The same of a child that runs many jobs at one time, and starts each when it comes."""

    queued = False

    def __init__(self) -> None:
        self.jobs: dict[int, tuple[Job, float]] = {}
        #: When each was given (monotonic seconds).
        self.given: dict[int, float] = {}
        #: How many it may run.
        self.width = 1
        #: It is to be given nothing.
        self.stuck = False

    @property
    def seconds(self) -> float:
        """How much it has to do, compared with others."""
        return float(len(self.jobs))

    def add(self, job: Job, expected: float, now: float) -> None:
        """Note a job that it is given."""
        self.jobs[job.seq] = (job, expected)
        self.given[job.seq] = now

    def remove(self, seq: int) -> Job | None:
        """Note that it does not have this job any more, and return it."""
        entry = self.jobs.pop(seq, None)
        self.given.pop(seq, None)
        return None if entry is None else entry[0]

    def reported(self, now: float) -> None:
        """Note a sign of life."""
        self.stuck = False

    @property
    def rank(self) -> tuple[int, float]:
        """The smaller, the sooner it gets the next job."""
        return int(self.stuck), len(self.jobs) / max(1, self.width)

    def overdue(self, now: float) -> bool:
        """Nothing waits behind anything."""
        return False

    def takes(self, expected: float) -> bool:
        """Tell whether a job may be given to it."""
        return not self.stuck and len(self.jobs) < self.width

    def room(self, typical: float | None) -> int:
        """Return how many jobs it would take."""
        return 0 if self.stuck else max(0, self.width - len(self.jobs))
