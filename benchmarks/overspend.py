"""Can a budget be overspent? Clients race for shared budgets while clients and the database are killed with ``kill -9``.

``python -m benchmarks.overspend [--clients 64] [--decisions 1000000] [--sqlite] [--json]``

Each client is a process of its own that bids for campaigns whose money runs out: it asks its leases what is available, holds what
the bid may cost, and is charged at random. The platform's bills are the truth: a charge is written to the client's bill (a file)
the moment the bid wins, before anybody else hears of it. A client that is killed in between is started anew, and books first what
its bill tells beyond what the ledger knows. Clients are killed, and so is PostgreSQL, which comes back by itself, until two thirds
of the bids are made; the rest shows how much of what the dead held comes back and is spent.

The peer in the same run is what one writes first: read what was spent, compare with the budget, bid, add what it cost.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from sqlalchemy import select, update

from benchmarks.servers import PostgresServer
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.ledger import SqlLedger
from bidloop.adapters.sql.tables import budgets
from bidloop.bidding.ledger.balance import Charge
from bidloop.bidding.ledger.leases import Leases
from bidloop.bidding.ledger.settings import LedgerSettings
from bidloop.bidding.ledger.window import ACCOUNT, Window, Windows, of_campaign
from bidloop.core.clock import SystemClock
from bidloop.core.errors import Unavailable

CAMPAIGNS = 8
LARGEST_BID = 10_000
"""Micros that a bid may cost at most; it is half of that on average, and charged between 3/4 of it and all."""
WIN_RATE = 0.5
CALM_S = 60.0
"""So long the bids last for which there is no money: a client waits after each, until what the dead held has come back."""
BOOK_EVERY_S = 1.0
"""Seconds between two bookings, as a process follows the log."""
LINE = struct.Struct("<BI")
"""A line of a bill: which campaign, how many micros."""
SETTINGS = LedgerSettings(
    lease_seconds=15.0, lease_share=0.02, hold_seconds=10.0, click_hold_seconds=10.0, return_seconds=20.0
)
"""Leases so short that what killed clients held comes back within the run."""


@dataclass(frozen=True)
class Result:
    """What came of one way of keeping a budget. Money in units of the account's currency."""

    way: str
    clients: int
    decisions: int
    kills_of_clients: int
    kills_of_the_database: int
    seconds: float
    budget: float
    spent: float
    held_back: float
    most_overspent: float
    accounts_overspent: int
    invariant_checks: int
    invariant_broken: int

    @property
    def delivered(self) -> float:
        return self.spent / self.budget


def campaign(number: int) -> str:
    return f"c{number}"


def limits_of(decisions: int) -> tuple[dict[str, int], int]:
    """Budgets by campaign, and of the account: all that is bid for would cost three times as much."""
    each_bid_for = decisions * WIN_RATE * LARGEST_BID / 2 * 7 / 8 / CAMPAIGNS
    each = {campaign(i): int(each_bid_for * (0.06 + 0.1 * i)) for i in range(CAMPAIGNS)}
    return each, int(0.8 * sum(each.values()))


def client(
    place: str, number: int, folder: Path, decisions: int, all_decisions: int, day: date, way: str, calm: float
) -> None:
    """One client's life, from where its bill says that it was."""
    logging.disable(logging.WARNING)  # that the database is down is no news here
    bill, count = folder / f"bill-{number}", folder / f"count-{number}"
    each, account = limits_of(all_decisions)
    at = datetime.combine(day, datetime.min.time(), UTC)
    windows = [Windows().on(campaign(i), day) for i in range(CAMPAIGNS)]

    def caps(name: str, day: date) -> dict[Window, int | None]:
        return {Window(of_campaign(name), f"day:{day}"): each[name], Window(ACCOUNT, f"day:{day}"): account}

    while True:
        try:
            engine = open_database(Path(place) if "://" not in place else place)
            break
        except Unavailable:
            time.sleep(0.2)
    ledger = SqlLedger(engine)
    rng = random.Random(f"{number}-{os.getpid()}")
    done = int(count.read_text() or 0) if count.exists() else 0
    out = os.open(bill, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    tally = os.open(count, os.O_WRONLY | os.O_CREAT)
    leases = Leases(ledger, caps, "UTC", SETTINGS, SystemClock())
    source = f"bill-{number}"

    settled: list[tuple[str, int]] = []
    booked_at = 0.0

    def look_after() -> None:
        """Book all that the bill tells, only then let the leases know, and only then bring them up to date."""
        nonlocal booked_at
        while True:
            try:
                book_bill(ledger, bill, source, windows)
                break
            except Unavailable:
                time.sleep(0.1)
        leases.settle(settled)
        settled.clear()
        leases.renew()
        booked_at = time.monotonic()

    if way == "ours":
        look_after()
    while done < decisions:
        number_of_campaign = rng.randrange(CAMPAIGNS)
        name, worst = campaign(number_of_campaign), rng.randint(1, LARGEST_BID)
        if way == "ours":
            free = leases.available(name, at, wanted=worst) or 0
            bid, decision = min(worst, free), f"{number}-{done}"
            if bid > 0 and leases.hold(decision, name, at, bid, SETTINGS.hold_seconds):
                wins = rng.random() < WIN_RATE
                cost = rng.randint(max(1, bid * 3 // 4), bid) if wins else 0
                if wins:
                    os.write(out, LINE.pack(number_of_campaign, cost))
                settled.append((decision, cost))
            else:
                time.sleep(calm / decisions)
            if time.monotonic() - booked_at > BOOK_EVERY_S:
                look_after()
        else:
            naive(engine, windows[number_of_campaign], each[name], account, worst, rng, out, number_of_campaign)
        done += 1
        if done % 64 == 0:
            os.pwrite(tally, f"{done:>12}".encode(), 0)
    if way == "ours":
        look_after()
        leases.close()
    os.pwrite(tally, f"{done:>12}".encode(), 0)
    engine.dispose()


def book_bill(ledger: SqlLedger, bill: Path, source: str, windows: list[tuple[Window, ...]]) -> None:
    """Book what a bill tells beyond what the ledger knows of it."""
    known, told = ledger.position(source), bill.stat().st_size // LINE.size
    with bill.open("rb") as file:
        file.seek(known * LINE.size)
        lines = list(LINE.iter_unpack(file.read((told - known) * LINE.size)))
    ledger.book(source, told, [Charge(known + i + 1, windows[c], micros) for i, (c, micros) in enumerate(lines)])


def naive(engine, windows, limit, account, worst, rng, out, number) -> None:  # type: ignore[no-untyped-def]
    """Get, then add: each step by itself is right."""
    mine = [w for w in windows if w.spell.startswith("day:")]
    try:
        with engine.connect() as connection:
            spent = {
                row.owner: row.spent
                for row in connection.execute(
                    select(budgets.c.owner, budgets.c.spent).where(budgets.c.spell == mine[0].spell)
                )
            }
        fits = all(spent.get(w.owner, 0) + worst <= (account if w.owner == ACCOUNT else limit) for w in mine)
        if not fits or rng.random() >= WIN_RATE:
            return
        cost = rng.randint(max(1, worst * 3 // 4), worst)
        os.write(out, LINE.pack(number, cost))
        with engine.begin() as connection:
            for w in mine:
                at = (budgets.c.owner == w.owner) & (budgets.c.spell == w.spell)
                connection.execute(update(budgets).where(at).values(spent=spent.get(w.owner, 0) + cost))
    except Exception:
        time.sleep(0.05)


def bills(folder: Path) -> list[int]:
    """What the platform charged each campaign so far, in micros."""
    total = [0] * CAMPAIGNS
    for bill in folder.glob("bill-*"):
        content = bill.read_bytes()
        for number, micros in LINE.iter_unpack(content[: len(content) // LINE.size * LINE.size]):
            total[number] += micros
    return total


def race(
    way: str,
    clients: int,
    decisions: int,
    *,
    sqlite: bool,
    kill_every: float,
    crash_every: float,
    calm_s: float = CALM_S,
    kills: int | None = None,
    seed: int = 0,
) -> Result:
    """Let the clients race, kill them and the database, and compare the bills with the budgets.

    Parameters
    ----------
    kills
        After so many clients nobody is killed any more; by default after two thirds of the bids.
    """
    rng, day = random.Random(seed), datetime.now(UTC).date()
    folder = Path(tempfile.mkdtemp(prefix="overspend-"))
    server = None if sqlite else PostgresServer().start()
    place = str(folder / "bidloop.db") if server is None else server.new_database()
    each, account = limits_of(decisions)
    engine = open_database(folder / "bidloop.db" if server is None else place)
    ledger = SqlLedger(engine)
    mine = {Window(of_campaign(name), f"day:{day}"): limit for name, limit in each.items()}
    shared = Window(ACCOUNT, f"day:{day}")
    ledger.limit({**mine, shared: account})
    per_client = decisions // clients
    command = [sys.executable, "-m", "benchmarks.overspend", "--client", place, "--folder", str(folder), "--way", way]
    command += ["--decisions", str(per_client), "--all", str(decisions), "--day", str(day), "--calm", str(calm_s)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    started: dict[int, float] = {}

    def start(number: int) -> subprocess.Popen[bytes]:
        started[number] = time.time()
        return subprocess.Popen([*command, "--number", str(number)], env=environment)

    def at_work(number: int) -> bool:
        """Whether it has bid since it was started: one that still wakes up has nothing to lose."""
        count = folder / f"count-{number}"
        return count.exists() and count.stat().st_mtime > started[number] and count.stat().st_size > 0

    began = time.monotonic()
    running = {number: start(number) for number in range(clients)}
    killed = crashed = checks = broken = 0
    next_kill, next_crash, next_check = kill_every, crash_every, 0.5
    worst, bereft, calm = 0, set[int](), False
    windows = [Windows().on(campaign(i), day) for i in range(CAMPAIGNS)]
    try:
        while running:
            time.sleep(0.05)
            passed = time.monotonic() - began
            for number, process in list(running.items()):
                if (code := process.poll()) is not None:
                    del running[number]
                    if code != 0:  # killed, by us or by losing its database at the wrong moment: it comes back
                        running[number] = start(number)
            calm = calm or (kills is not None and killed >= kills and crashed > 0)
            bidding = [number for number in sorted(running) if at_work(number)] if passed > next_kill else []
            if kill_every and passed > next_kill and bidding and not calm:
                next_kill = passed + kill_every
                victim = rng.choice(bidding)
                running[victim].send_signal(signal.SIGKILL)
                running[victim].wait()
                killed += 1
                bereft.add(victim)
            if server is not None and crash_every and passed > next_crash and not calm:
                next_crash = passed + crash_every
                server.kill()
                crashed += 1
                time.sleep(rng.uniform(0.1, 1.0))
                server.start()
            for number in sorted(bereft):  # what a log's follower does: the bills of the dead are booked by others
                try:
                    if (bill := folder / f"bill-{number}").exists():
                        book_bill(ledger, bill, bill.name, windows)
                    bereft.discard(number)
                except Unavailable:
                    break
            if passed > next_check:
                next_check = passed + 0.5
                over = overspent(bills(folder), each, account)
                worst = max(worst, *over)
                calm = calm or sum(int(count.read_text() or 0) for count in folder.glob("count-*")) > decisions * 2 / 3
                try:
                    balances = ledger.balances([*mine, shared])
                except Unavailable:
                    continue
                checks += 1
                broken += any(balance.over for balance in balances)
        seconds = time.monotonic() - began
        [held] = ledger.balances([shared])
        charged = bills(folder)
        over = overspent(charged, each, account)
        worst = max(worst, *over)
        return Result(
            way=way,
            clients=clients,
            decisions=per_client * clients,
            kills_of_clients=killed,
            kills_of_the_database=crashed,
            seconds=seconds,
            budget=min(account, sum(each.values())) / 1e6,
            spent=sum(charged) / 1e6,
            held_back=held.reserved / 1e6,
            most_overspent=worst / 1e6,
            accounts_overspent=sum(one > 0 for one in over),
            invariant_checks=checks,
            invariant_broken=broken,
        )
    finally:
        for process in running.values():
            process.kill()
            process.wait()
        engine.dispose()
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def overspent(charged: list[int], each: dict[str, int], account: int) -> list[int]:
    """By how many micros each campaign, and the account, was charged more than its budget."""
    over = [max(0, charged[i] - each[campaign(i)]) for i in range(CAMPAIGNS)]
    return [*over, max(0, sum(charged) - account)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--decisions", type=int, default=1_000_000)
    parser.add_argument("--naive-decisions", type=int, default=20_000)
    parser.add_argument("--kill-every", type=float, default=2.0, help="seconds between two kills of a client")
    parser.add_argument("--crash-every", type=float, default=20.0, help="seconds between two kills of the database")
    parser.add_argument("--sqlite", action="store_true", help="one file in place of a PostgreSQL server")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--all", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--day", help=argparse.SUPPRESS)
    parser.add_argument("--calm", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--way", default="ours", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.client:
        client(
            asked.client,
            asked.number,
            asked.folder,
            asked.decisions,
            asked.all,
            date.fromisoformat(asked.day),
            asked.way,
            asked.calm,
        )
        return
    results = [
        race(
            "ours",
            asked.clients,
            asked.decisions,
            sqlite=asked.sqlite,
            kill_every=asked.kill_every,
            crash_every=asked.crash_every,
        ),
        race(
            "naive", min(asked.clients, 16), asked.naive_decisions, sqlite=asked.sqlite, kill_every=0.0, crash_every=0.0
        ),
    ]
    if asked.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return
    for result in results:
        print(
            f"{result.way:6} {result.decisions:9,} decisions of {result.clients} clients in {result.seconds:.0f} s, "
            f"{result.kills_of_clients} clients and {result.kills_of_the_database} databases killed: "
            f"spent {result.spent:,.2f} of {result.budget:,.2f} ({result.delivered:.1%}), {result.held_back:,.2f} still held; "
            f"overspent in {result.accounts_overspent} accounts, at most by {result.most_overspent:,.2f}; "
            f"its books over a limit in {result.invariant_broken} of {result.invariant_checks} looks"
        )


if __name__ == "__main__":
    main()
