"""The benchmark of the loop, in the stand-in host."""

import pytest
from Benchmarks.shared import application
from Benchmarks.speed import loop
from phantoms import blob

from SparseSegLib.image import Geometry


@pytest.mark.prepares
def test_the_loop_is_gone_through_with_two_clicks(panel):
    phantom = blob(Geometry.identity((16, 20, 24)))
    figures = loop.measure(panel, phantom.volume, phantom.labels, seconds=1, warm=0.5)
    assert figures.clicks == 2
    for waiting in (figures.prepared, figures.cold, figures.live):
        assert 0 < waiting.first <= waiting.whole
    before, after = figures.beside
    assert after >= before - 0.05
    assert figures.applied > 0.8
    assert panel.session.rounds.handle is None


def test_strokes_are_measured_in_three_views_on_new_slices_and_known_ones(panel):
    found = loop.measure_strokes(panel, (30, 40, 50), pause=0.05)
    assert [where for where, *_ in found][:4] == ["1: Red, new", "2: Green, new", "3: Yellow, new", "4: Red, same"]
    assert all(bare is None for _, bare, _ in found), "the stand-in host has no tools that draw"
    assert all(seconds > 0 for _, _, (seconds, _) in found)
    assert len(panel.session.planes().planes) == 6


def test_gaps_are_those_of_the_event_loop(host):
    gaps = application.Gaps()
    gaps.phase = "held"
    sum(range(300_000))
    application.run_events(0.02)
    gaps.phase = "free"
    application.run_events(0.05)
    gaps.stop()
    longest = gaps.longest()
    assert longest["held"][1] > longest["free"][1]
