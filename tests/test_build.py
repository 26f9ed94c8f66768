"""Which build an interpreter is, by its own record, and who says so."""

import sysconfig

import pytest

from reactornb import doctor

DISABLED = "'--disable-gil' '--disable-test-modules'"


@pytest.mark.parametrize(
    ("options", "standalone", "expected"),
    [
        (f"'--prefix=/home/me/.cache/cpython-3.14.7t' {DISABLED} 'CFLAGS=-g0'", None, "plain"),
        (f"'--prefix=/home/me/cpython' {DISABLED} '--enable-optimizations' 'PROFILE_TASK=-m test'", None, "profiled"),
        (f"'--prefix=/usr/local' {DISABLED}", None, "plain"),
        (
            "'--build=x' '--prefix=/install' '--with-openssl=/tools/deps' '--enable-optimizations' '--with-lto'",
            None,
            "uv",
        ),
        ("'--prefix=/install' '--enable-optimizations'", 1, "uv"),
        ("'--enable-shared' '--prefix=/usr' '--enable-optimizations' '--with-lto'", None, "system"),
        (None, None, "unknown"),
    ],
)
def test_a_build_is_told_by_the_options_it_was_configured_with(monkeypatch, options, standalone, expected):
    found = {"CONFIG_ARGS": options, "PYTHON_BUILD_STANDALONE": standalone}
    monkeypatch.setattr(sysconfig, "get_config_var", found.get)
    assert doctor.build() == expected


@pytest.mark.parametrize(("made", "offered"), [("plain", True), ("profiled", False), ("uv", False), ("system", False)])
def test_doctor_offers_the_faster_build_where_there_is_only_the_plain_one(monkeypatch, made, offered):
    monkeypatch.setattr(doctor, "build", lambda: made)
    monkeypatch.setattr(doctor, "_free_threaded", lambda: True)
    (finding,) = doctor._interpreter()
    assert finding.facts["build"] == made
    assert ("make fast-python" in finding.fix) == offered
    assert ("a quarter less time" in finding.fix) == offered
    assert finding.state == ("note" if offered else "ok")
