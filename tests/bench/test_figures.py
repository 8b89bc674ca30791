"""The chart of the benchmark's ratios."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from bench import figures


def test_a_bar_is_as_long_as_its_median() -> None:
    ratios = {"bare": figures.Ratio((1.0,)), "pagerelay": figures.Ratio((1.5, 2.0, 3.0))}
    chart = ET.fromstring(figures.bars("Rates, bare = 1", ratios))
    widths = [float(each.attrib["width"]) for each in chart.findall(".//{*}rect") if each.attrib["width"] != "100%"]
    assert widths == [140.0, 280.0], "of 420 pixels for the maximum, 3.0"
    assert [each.text for each in chart.findall(".//{*}text")] == [
        "Rates, bare = 1",
        "bare",
        "1.00",
        "pagerelay",
        "2.00",
    ]
