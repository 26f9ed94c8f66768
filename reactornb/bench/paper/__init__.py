"""`reactornb paper`: the paper's six experiments and one of ours, measured beside other systems, as one page.

    experiments ──▶ running ──▶ JSON of each part ──▶ results ──▶ figures, page
                    a process a part                  charts, ratios

A part is a benchmark of `reactornb bench`. What is drawn and written comes from the JSON that lies beside it.
"""

from reactornb.bench.paper.command import main

__all__ = ["main"]
