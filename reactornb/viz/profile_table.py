"""A profile as an HTML table, which follows the page's theme through Jupyter's variables and stands on its own elsewhere."""

from __future__ import annotations

import html

from reactornb.runtime.profile import Profile, ProfileRow, worker_order

__all__ = ["profile_html"]

_MOST = 40  # rows; the rest is summed up
_WORKERS = 4  # the busiest of each row
_STYLE = """<style>
.rnb-profile { border-collapse: collapse; font-variant-numeric: tabular-nums; color: var(--jp-ui-font-color0, inherit); }
.rnb-profile caption { text-align: left; padding: 2px 8px; caption-side: top; color: var(--jp-ui-font-color1, inherit); }
.rnb-profile th, .rnb-profile td { padding: 2px 10px !important; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--jp-border-color2, rgba(128, 138, 152, .35)); }
.rnb-profile th { font-weight: 600; }
.rnb-profile th:first-child, .rnb-profile td:last-child, .rnb-profile th:last-child { text-align: left; }
.rnb-profile tbody th { font-weight: 400; font-family: var(--jp-code-font-family, ui-monospace, monospace); }
.rnb-profile .rnb-share { background: linear-gradient(to right, rgba(59, 130, 246, .38) var(--share), transparent var(--share)); min-width: 90px; }
</style>"""
_TITLES = (
    ("reaction", "its full name"),
    ("count", "how often it ran"),
    ("seconds", "how long in all"),
    ("share", "of the time of all reactions"),
    ("µs each", "the mean"),
    (
        "waiting s",
        "between the beginning of its level and its own, in all: what more or better placed workers could save",
    ),
    ("worker: count", "how often it ran on which worker; h0.1 is worker 1 of host 0"),
)


def profile_html(profile: Profile) -> str:
    """The rows of a profile, the costliest first; of a long one the first, and one row for the others.

    Returns:
        An HTML table with its style.
    """
    shown, others = profile[:_MOST], profile[_MOST:]
    count, spent = sum(row.count for row in profile), sum(row.seconds for row in profile)
    head = "".join(f'<th scope="col" title="{hint}">{title}</th>' for title, hint in _TITLES)
    rows = [_row(row) for row in shown]
    if others:
        rest = ProfileRow(
            f"{len(others):,} others: by_bank() folds them",
            sum(row.count for row in others),
            sum(row.seconds for row in others),
            sum(row.share for row in others),
            sum(row.waiting for row in others),
            {},
        )
        rows.append(_row(rest))
    return (
        f'{_STYLE}<table class="rnb-profile"><caption>{len(profile):,} reactions ran {count:,} times, {spent:.3f} s in all'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _row(row: ProfileRow) -> str:
    busiest = sorted(row.workers.items(), key=lambda item: (-item[1], worker_order(item[0])))
    shown = sorted(busiest[:_WORKERS], key=lambda item: worker_order(item[0]))
    workers = " &nbsp;".join(f"{worker}: {count:,}" for worker, count in shown)
    if len(busiest) > _WORKERS:
        workers += f" and {len(busiest) - _WORKERS} more"
    each = f"{row.seconds / row.count * 1e6:,.1f}" if row.count else ""
    return (
        f'<tr><th scope="row">{html.escape(row.reaction)}</th><td>{row.count:,}</td><td>{row.seconds:.3f}</td>'
        f'<td class="rnb-share" style="--share:{row.share:.1%}">{row.share:.1%}</td><td>{each}</td><td>{row.waiting:.3f}</td>'
        f"<td>{workers}</td></tr>"
    )
