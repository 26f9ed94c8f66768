"""The hosts of a run as an HTML table, which follows the page's theme through Jupyter's variables and stands on its own elsewhere."""

from __future__ import annotations

import html

from reactornb.runtime.placing import HostTable

__all__ = ["hosts_html"]

_STYLE = """<style>
.rnb-hosts { border-collapse: collapse; font-variant-numeric: tabular-nums; color: var(--jp-ui-font-color0, inherit); }
.rnb-hosts th, .rnb-hosts td { padding: 2px 10px !important; text-align: left; white-space: nowrap;
  border-bottom: 1px solid var(--jp-border-color2, rgba(128, 138, 152, .35)); }
</style>"""


def hosts_html(hosts: HostTable) -> str:
    """A row for each host.

    Returns:
        An HTML table with its style; a sentence where there are none.
    """
    if not hosts:
        return "<p>no hosts: all is executed in this process</p>"
    head = "".join(f'<th scope="col">{title}</th>' for title in hosts.TITLES)
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in hosts.cells())
    return f'{_STYLE}<table class="rnb-hosts"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
