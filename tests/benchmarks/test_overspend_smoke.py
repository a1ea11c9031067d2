"""The race for shared budgets, short: real processes and a real database, both killed."""

from __future__ import annotations

from benchmarks.overspend import race


def test_no_budget_is_overspent_while_clients_and_the_database_are_killed() -> None:
    ours = race("ours", 3, 2_400, sqlite=False, kill_every=0.3, crash_every=4.0, calm_s=1.0, kills=2)
    assert ours.kills_of_clients > 0
    assert ours.kills_of_the_database > 0
    assert (ours.accounts_overspent, ours.most_overspent, ours.invariant_broken) == (0, 0.0, 0)
    assert ours.delivered > 0.1, "money of the dead returns after 35 s only, but refusing every bid would be easy"


def test_getting_and_adding_overspends_in_the_same_race() -> None:
    naive = race("naive", 4, 1_000, sqlite=True, kill_every=0.0, crash_every=0.0)
    assert naive.accounts_overspent > 0
