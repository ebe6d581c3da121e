"""The internet settings of Windows, in the forms that they are written in: which proxy https goes through."""

from __future__ import annotations

from importlib import import_module

import pytest

from ccremedy import registry
from ccremedy.machine import Facts

registry.adapter(Facts("linux", {}, "/"))  # the adapters are importable by name once the registry has found them
internet = import_module("ccremedy.platforms._internet")


@pytest.mark.parametrize(
    ("servers", "proxy"),
    [
        ("proxy.corp:3128", "http://proxy.corp:3128"),
        ("proxy.corp", "http://proxy.corp"),
        ("http://proxy.corp:3128", "http://proxy.corp:3128"),
        ("https://proxy.corp:3128", "https://proxy.corp:3128"),
        ("http=a:80;https=b:443", "http://b:443"),
        ("https=b:443;http=a:80;ftp=c:21", "http://b:443"),
        ("HTTP=a:80 HTTPS=b:443", "http://b:443"),
        ("https=http://b:443", "http://b:443"),
        ("http=a:80", "http://a:80"),
        ("http=a:80;", "http://a:80"),
        ("socks=s:1080", ""),
        ("ftp=c:21;socks=s:1080", ""),
        ("a:80;b:80", "http://a:80"),
        ("10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("", ""),
        (" ", ""),
        (";", ""),
    ],
)
def test_the_server_for_https_is(servers: str, proxy: str) -> None:
    assert internet._for_https(servers) == proxy


def test_elsewhere_there_are_no_stores_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internet.sys, "platform", "linux")
    assert internet.authorities() == ""
